import asyncio
from rstream import AMQPMessage, Consumer, amqp_decoder

tail = None

def text(value):
    return value.decode() if isinstance(value, bytes) else value

async def receive(message: AMQPMessage, context):
    global tail
    properties = {text(name): text(value) for name, value in message.application_properties.items()}
    if properties.get("mcast-after") != tail:
        return
    tail = f"{properties['mcast-incarnation']}-{properties['mcast-number']}"
    kind = properties.get("mcast-kind", "message")
    print(tail, kind, (message.body or b"").decode(), flush=True)
    if kind == "end":
        context.consumer.stop()

async def main():
    async with Consumer("10.0.0.3", 5552, username="feeds", password="secret") as consumer:
        await consumer.subscribe("prices", receive, decoder=amqp_decoder)
        await consumer.run()

asyncio.run(main())
