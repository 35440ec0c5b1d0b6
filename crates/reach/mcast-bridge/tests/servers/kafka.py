"""Requests of tests to Kafka, by a client that others wrote: a JSON array per line, and a JSON value in return."""

import json
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

brokers, topic, settings = sys.argv[1:]
common = {"bootstrap.servers": brokers, "log_level": 0} | json.loads(settings)
admin = AdminClient(common)


def committed(topic=topic):
    """Returns the committed records of a topic, whose bytes are their characters: keys, headers and values."""
    if topic not in admin.list_topics(timeout=10).topics:
        return []
    reading = {"group.id": "test", "isolation.level": "read_committed", "enable.partition.eof": True}
    consumer = Consumer(common | reading | {"enable.auto.commit": False, "auto.offset.reset": "earliest"})
    first, _ = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    consumer.assign([TopicPartition(topic, 0, first)])
    records = []
    while True:
        message = consumer.poll(10)
        if message is None:
            raise TimeoutError("the broker does not respond")
        if message.error():
            consumer.close()
            return records
        headers = {name: value.decode() for name, value in message.headers() or []}
        records.append([(message.key() or b"").decode(), headers, (message.value() or b"").decode("latin-1")])


def produce(*records):
    """Stores records: their keys, values and headers."""
    producer = Producer(common)
    for key, value, headers in records:
        producer.produce(topic, value, key, 0, headers=headers)
    assert producer.flush(10) == 0


left = []


def begun(transaction, key, value):
    """Returns a producer that has begun a transaction with a record."""
    producer = Producer(common | {"transactional.id": transaction})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(topic, value, key, 0)
    assert producer.flush(10) == 0
    return producer


def respond(request, *arguments):
    match request:
        case "length":
            return len(committed())
        case "dump":
            return committed(*arguments)
        case "last":
            # Nothing may be stored yet.
            return (committed() or [["", {}, ""]])[-1]
        case "topics":
            return sorted(name for name in admin.list_topics(timeout=10).topics if name.startswith(topic))
        case "create":
            (future,) = admin.create_topics([NewTopic(topic, arguments[0], config=arguments[1])]).values()
            future.result()
        case "delete":
            (future,) = admin.delete_topics([topic]).values()
            future.result()
        case "delete-all":
            # Everything that the tests have made: the topics, their notes and copies.
            own = [name for name in admin.list_topics(timeout=10).topics if name.startswith(topic)]
            for future in admin.delete_topics(own).values() if own else ():
                future.result()
        case "purge":
            (future,) = admin.delete_records([TopicPartition(topic, 0, -1)]).values()
            future.result()
        case "produce":
            produce(arguments)
        case "produce-all":
            if topic not in admin.list_topics(timeout=10).topics:
                (future,) = admin.create_topics([NewTopic(topic, 1)]).values()
                future.result()
            produce(*arguments[0])
        case "garbage":
            produce((arguments[0], "x", [("mcast-stream", "ff"), ("mcast-time", b"\xff")]))
        case "leave":
            # The process keeps the producer, and with it an open transaction.
            left.append(begun(*arguments))
        case "abort":
            begun(*arguments).abort_transaction(10)


for line in sys.stdin:
    try:
        result = respond(*json.loads(line))
    except KafkaException as error:
        result = {"error": str(error)}
    print(json.dumps(result), flush=True)
