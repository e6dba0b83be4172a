"""An empty task for each message, as a loop with boto3: batches of ten."""

import sys

import boto3

queue = sys.argv[1]
sqs = boto3.client("sqs")
while True:
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=20).get("Messages", [])
    if messages:
        entries = [{"Id": str(index), "ReceiptHandle": m["ReceiptHandle"]} for index, m in enumerate(messages)]
        sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
