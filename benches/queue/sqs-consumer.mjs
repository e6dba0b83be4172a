// An empty task for each message, as one would write it with sqs-consumer: batches of ten, all acknowledged.
import { SQSClient } from '@aws-sdk/client-sqs';
import { Consumer } from 'sqs-consumer';

const consumer = Consumer.create({
  queueUrl: process.argv[2],
  batchSize: 10,
  sqs: new SQSClient({ useQueueUrlAsEndpoint: false }),
  handleMessageBatch: async (messages) => messages,
});
consumer.on('error', (error) => console.error(error.message));
consumer.start();
