"""Values that break stores: bodies and ids that every adapter has to give back as it got them."""

UGLY_BODIES: dict[str, bytes] = {
    "NUL": b'{"text":"a\x00b"}',
    "escaped NUL": b'{"text":"a\\u0000b"}',
    "lone surrogate": b'{"text":"\\ud800"}',
    "duplicate keys": b'{"a":1,"a":2}',
    "ten to the fortieth": b'{"n":10000000000000000000000000000000000000000}',
    "many digits": b'{"n":0.1000000000000000055511151231257827021181583404541015625}',
    "deep nesting": b'{"x":' * 200 + b"1" + b"}" * 200,
    "emoji": '{"text":"🦊👩‍👩‍👧"}'.encode(),
    "right to left": '{"text":"\u202eשלום\u202c"}'.encode(),
    "combining": '{"text":"e\u0301 \u00e9"}'.encode(),
    "quotes and wildcards": b'{"text":"%_\'\\"\\\\; drop table event; --"}',
    "empty strings": b'{"":"","a":{"":[]}}',
    "white space": b'{ "a" : [ 1 , 2 ] }',
}

UGLY_IDS: list[str] = [
    "x" * 512,
    "🦊" * 128,
    "quote'quote",
    'double"quote',
    "percent%under_score",
    "back\\slash",
    "semi;colon -- comment",
    "A",
    "a",
    "\u202eeluR",
    "e\u0301",
    "\u00e9",
    " ",
    "a/b?c#d",
]
