"""A call to one of Amazon's services: arguments from standard input, the answer to standard output, as JSON."""

import json
import os
import sys

import boto3

service, operation = sys.argv[1:]
client = boto3.client(service, region_name=os.environ["AWS_REGION"])
answer = getattr(client, operation)(**json.load(sys.stdin))
json.dump(answer, sys.stdout, default=str)
