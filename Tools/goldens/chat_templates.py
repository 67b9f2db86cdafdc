"""Makes Tests/Fixtures/Tokenizers/chat_templates.json: templates, conversations, and what the reference renders.

The templates are our own; they have the forms of those that model families publish (ChatML with a default system prompt
or tools, Mistral's and Llama's bracketed turns, Llama-3 headers, Vicuna, Phi, Gemma, and messages whose content is a
list of images and texts), and one small template for each feature of the language. The reference is transformers'
`render_jinja_template`, which runs jinja2 in its sandbox. A case that the reference refuses has null as text.

Versions: transformers 5.23.0, jinja2 3.1.6 (Tools/requirements-dev.txt).
Command:  python Tools/goldens/chat_templates.py
"""

import datetime
import json
from pathlib import Path

from transformers.utils import chat_template_utils

OUT = Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Tokenizers" / "chat_templates.json"
NOW = datetime.datetime(2024, 2, 9, 8, 5, 7)

CHATML = """\
{% for message in messages %}
{% if loop.first and messages[0]['role'] != 'system' %}
{{ '<|im_start|>system\\nYou answer questions about pictures.<|im_end|>\\n' }}
{% endif %}
{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{% endif %}
"""

CHATML_TIGHT = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "Be brief.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'"
    " + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

CHATML_TOOLS = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content }}
    {%- else %}
        {{- 'You look things up.' }}
    {%- endif %}
    {{- "\\n\\n# Functions\\n\\nCall them when needed.\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\nAnswer as <call>\\n{\\"name\\": <name>, \\"arguments\\": <object>}\\n</call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou look things up.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<result>\\n' }}
        {{- message.content }}
        {{- '\\n</result>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

BRACKETS = """\
{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Turns must go user, assistant, user, assistant') }}{% endif %}\
{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}\
{% else %}{{ raise_exception('Only user and assistant may speak') }}{% endif %}{% endfor %}"""

BRACKETS_SYSTEM = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the system message, turns must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message['role'] == 'user' %}
        {%- if loop.last and system_message is defined %}
            {{- '[INST] ' + system_message + '\\n\\n' + message['content'] + '[/INST]' }}
        {%- else %}
            {{- '[INST] ' + message['content'] + '[/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content']|trim + eos_token}}
    {%- endif %}
{%- endfor %}
"""

LLAMA2 = """\
{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}\
{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}\
{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Turns must alternate') }}{% endif %}\
{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}\
{% else %}{% set content = message['content'] %}{% endif %}\
{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""

LLAMA3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("One call at a time!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson(indent=4) }}
        {{- "}<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

VICUNA = """\
{% if messages[0]['role'] == 'system' %}
{{ messages[0]['content'] ~ ' ' }}
{%- set rest = messages[1:] %}
{% else %}
{{ 'A talk about a picture.' ~ ' ' }}
{%- set rest = messages %}
{% endif %}
{% for message in rest %}
{% if message.role == 'user' %}
{{- 'USER: ' ~ message.content ~ ' ' }}
{%- elif message.role == 'assistant' %}
{{- 'ASSISTANT: ' ~ message.content ~ eos_token }}
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}
{{- 'ASSISTANT:' }}
{%- endif %}"""

LLAVA = """\
{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}\
{# first every picture #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}\
{# then every text #}{% if message['role'] != 'assistant' %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}\
{{ content['text'] + ' '}}{% endfor %}{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}\
{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""

IDEFICS = """\
<|begin|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'] is string or message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}\
{% if message['content'] is string %}{{ ' ' ~ message['content'] }}{% else %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}{% endif %}<end_of_utterance>
{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""

QWEN_VL = """\
{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}
{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system
You see pictures.<|im_end|>
{% endif %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}<|im_end|>
{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>{% elif content['type'] == 'video' %}{% set video_count.value = video_count.value + 1 %}<|video_pad|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

PHI = """\
{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'user' %}{{'<|user|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>
' + message['content'] + '<|end|>
'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
' }}{% else %}{{ eos_token }}{% endif %}"""

GEMMA = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '

' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '

' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Turns must alternate") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '
' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("What content is this?") }}
    {%- endif -%}
    {{ '<end_of_turn>
' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model
' }}
{%- endif -%}
"""

MACROS = """\
{%- macro type_of(schema, optional=false) -%}
    {%- set names = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"} -%}
    {%- if schema.type == "array" -%}
        list[{{ type_of(schema['items'] if 'items' in schema else {}) }}]
    {%- elif schema.type is sequence and schema.type is not string -%}
        {%- for kind in schema.type -%}{{ type_of({"type": kind}) }}{% if not loop.last %} | {% endif %}{%- endfor -%}
    {%- else -%}
        {{ names.get(schema.type, 'any') }}{{ '?' if optional }}
    {%- endif -%}
{%- endmacro %}
{%- macro describe(tool) %}
def {{ tool.name }}(
    {%- for name, schema in tool.parameters.properties.items() -%}
        {{ name }}: {{ type_of(schema, optional=name not in tool.parameters.required) }}
        {%- if not loop.last %}, {% endif -%}
    {%- endfor -%}
):
    {{ '"""' ~ tool.description | indent(4) ~ '"""' }}
{% endmacro %}
{%- for tool in tools or [] if tool.type == 'function' %}
{{- describe(tool.function) }}
{%- else %}
No tools.
{%- endfor %}
{%- for message in messages %}
{{ message.role | title }}> {{ message.content if message.content is string else message.content | map(attribute='text', default='[picture]') | join(' ') }}
{%- endfor %}
"""

FAMILIES = {
    "chatml": CHATML, "chatml tight": CHATML_TIGHT, "chatml tools": CHATML_TOOLS, "brackets": BRACKETS,
    "brackets with system": BRACKETS_SYSTEM, "llama 2": LLAMA2, "llama 3": LLAMA3, "vicuna": VICUNA, "llava": LLAVA,
    "idefics": IDEFICS, "qwen vl": QWEN_VL, "phi": PHI, "gemma": GEMMA, "macros": MACROS,
}


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def parts(*contents):
    return [{"type": "image"} if c is None else {"type": "text", "text": c} for c in contents]


CONVERSATIONS = {
    "question": [turn("user", "What colour is the car?")],
    "with system": [turn("system", "  Answer in one word.\n"), turn("user", " Is it red? ")],
    "three turns": [turn("user", "Hi"), turn("assistant", " Hello! "), turn("user", "How many dogs?\nCount \"all\".")],
    "system and turns": [
        turn("system", "S"), turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", "d"),
    ],
    "scripts": [turn("user", "猫はどこ？ 🐈‍⬛ é e\u0301 Ω \u00a0\u2003x <b>&'\"\\ {{ x }} {% y %}")],
    "empty content": [turn("user", "")],
    "wrong order": [turn("assistant", "first"), turn("user", "second")],
    "two users": [turn("user", "one"), turn("user", "two")],
    "unknown role": [turn("judge", "order")],
    "picture": [turn("user", parts(None, "What is this?"))],
    "pictures": [
        turn("user", parts("Compare", None, "with", None, ".")), turn("assistant", parts("Same.")),
        turn("user", parts("Sure?")),
    ],
    "system picture": [turn("system", parts("Be kind.")), turn("user", parts(None, " Who? "))],
    "tool calls": [
        turn("user", "Weather in Köln?"),
        turn("assistant", None, tool_calls=[
            {"type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "days": 2, "x": [1.5, None, True]}}},
        ]),
        turn("tool", "{\"sky\": \"blue\"}"), turn("tool", "second"), turn("assistant", "Blue."),
    ],
}

TOOLS = [
    {"type": "function", "function": {
        "name": "weather", "description": "The weather.\nOf a city,\n\nfor days.", "parameters": {
            "type": "object", "required": ["city"], "properties": {
                "city": {"type": "string", "description": "A \"name\" <é>"},
                "days": {"type": "integer"}, "grid": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
                "either": {"type": ["string", "boolean"]}, "other": {"type": "null"},
            }}}},
    {"type": "function", "function": {"name": "stop", "description": "Stops.", "parameters": {"type": "object", "properties": {}}}},
]

DATA = {
    "xs": [3, 1, 2], "words": ["b", "A", "c", "a", "B"], "text": "The quick brown fox's red-nosed (friend)",
    "nested": {"a": {"b": [10, {"c": "deep"}]}, "items": 7, "z": None}, "people": [
        {"name": "Ann", "age": 31, "tags": ["x"]}, {"name": "bob", "age": 25, "tags": []}, {"name": "Cy", "age": 31},
    ],
    "half": 0.5, "big": 1e22, "tiny": 1.5e-7, "limit": 12345678901234567.0, "yes": True, "no": False, "nothing": None,
    "spaces": " \t a  b\nc \u3000", "lines": "one\ntwo\r\n\nfour\n", "script": "ÀÉß ŒΣΑΣ ǆ ﬁ İ", "quotes": "it's \"so\"",
    "controls": "\u0001\u007f\u0085\u200b\u2028\ue000😀", "bools": [True, False, 1, 0, 1.0],
}

# One expression a line; each is rendered as `{{ expression }}`.
EXPRESSIONS = r"""
1 + 2 * 3 - 4 / 2
7 // 2
-7 // 2
7 % -3
-7 % 3
-7.5 // 2
7.5 % -2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
1 / 3
4 / 2
1e3
1.5e-3 + 0
1_000
0x1f + 0b101 + 0o17
yes + 1
-yes
+half
1 // 0
1 % 0
1.0 / 0
'a' + 'b' * 3
'a' + 1
'a' ~ 1 ~ none ~ true ~ 1.0 ~ missing ~ [1, 'x']
'x' 'y' "z"
3 * 'ab'
[1] + [2, 3]
[0] * 3
(1, 2) + (3,)
[1] + (2,)
(1,)
()
(1, 'a', none)
{'a': 1, 'b': [true, none, 1.5], 2: "it's"}
{}
[]
{'a': 1}['a']
{'a': 1}.a
{1: 'x'}[1.0]
{true: 'x'}[1]
"it's"
["it's", 'say "x"', "both ' and \"", "\n\t\\ \x01 é \u200b"]
'\x41\u00e9\U0001F600\101\q\'\a\b\f\v\r\0'
controls
[controls]
half ~ ' ' ~ big ~ ' ' ~ tiny ~ ' ' ~ limit ~ ' ' ~ 100000.0 ~ ' ' ~ 1e16 ~ ' ' ~ 1e15 ~ ' ' ~ 0.0001 ~ ' ' ~ 0.00001
xs
nested
people[0]
people[0].name
people[0]['name']
people.0.name
people[-1]['tags']
people[5]
people[5].name
nested.a.b[1].c
nested['a']['b'][0]
nested['items']
nested.z
nested.z.q
nested.q
nested.q.r
missing
missing.x
missing[0]
missing + 1
missing == missing
missing is defined
missing or 'fallback'
missing | default('d')
nothing | default('d')
nothing | default('d', true)
'' | d('e', boolean=true)
'x'.nope
none.x
3 .x
text[0]
text[-1]
text[100]
text[4:9]
text[:3]
text[-8:]
text[::-1]
text[::3]
text[10:2:-2]
text[100:]
text[-100:3]
xs[1:]
xs[:-1]
xs[::-1]
xs[5:1]
xs[none:2]
xs[::0]
xs['a':]
(1, 2, 3)[1:]
1 < 2 < 3
1 < 3 < 2
1 == 1.0
1 == true
'1' == 1
'a' < 'b'
'a' < 1
[1, 2] < [1, 3]
[1] == [1.0]
(1,) == [1]
{'a': 1} == {'a': 1.0}
none == none
none < 1
1 != 2
2 >= 2
2 <= 1
'ell' in 'hello'
'' in 'x'
1 in xs
9 not in xs
'a' in nested
'q' in nested
1 in 'abc'
'x' in none
'x' in missing
not 1 in [1]
not false and true
false or none
0 or '' or 'last'
1 and 2
1 and 0 and 2
'a' if yes else 'b'
'a' if no else 'b'
'a' if no
('a' if no) is undefined
'a' if no else 'b' if no else 'c'
1 if yes else missing.boom
xs | length
text | length
nested | count
missing | length
none | length
5 | length
spaces | trim
'xxaxx' | trim('x')
12 | trim
missing | trim
text | upper
text | lower
text | title
text | capitalize
text.title()
text.capitalize()
script.upper()
script.lower()
script.title()
script | title
script | capitalize
"ΑΣ ΑΣ. Σ ΣΑ Α'Σ".lower()
words | join
words | join(', ')
words | join('-') | upper
'abc' | join('.')
xs | join(none)
people | join(', ', attribute='name')
people | map(attribute='name') | join(',')
people | map(attribute='tags', default='none') | list
people | map(attribute='tags.0') | list
people | map(attribute='missing', default=0) | list
people | map('length') | list
words | map('upper') | list
words | map('replace', 'a', 'z') | list
people | selectattr('age', 'equalto', 31) | map(attribute='name') | list
people | selectattr('age', 'gt', 25) | list | length
people | selectattr('tags') | map(attribute='name') | list
people | selectattr('tags', 'defined') | map(attribute='name') | list
people | rejectattr('tags') | map(attribute='name') | list
people | rejectattr('name', 'in', ['Ann', 'Cy']) | map(attribute='name') | list
xs | select('odd') | list
xs | select | list
[0, 1, '', 'a', none] | reject | list
xs | reject('eq', 1) | list
xs | first
xs | last
[] | first
'abc' | first
'abc' | last
missing | first
xs | sort
xs | sort(reverse=true)
words | sort
words | sort(case_sensitive=true)
words | sort(true, true)
people | sort(attribute='age') | map(attribute='name') | list
people | sort(attribute='age,name') | map(attribute='name') | list
people | sort(reverse=true, attribute='age') | map(attribute='name') | list
[1, 'a'] | sort
words | unique | list
words | unique(case_sensitive=true) | list
bools | unique | list
people | unique(attribute='age') | map(attribute='name') | list
words | reverse | list
'abc' | reverse
xs | sum
people | sum(attribute='age')
xs | sum(start=0.5)
xs | min
xs | max
words | min
people | max(attribute='age') | tojson
[] | max
nested | dictsort
{'b': 1, 'A': 2} | dictsort
{'b': 1, 'A': 2} | dictsort(by='value', reverse=true)
nested | items | list
missing | items | list
nested | list
'abc' | list
5 | list
12 | string + '3'
none | string
[1] | string
'42' | int + 1
'x' | int
'x' | int(7)
' 12 ' | int
'3.9' | int
'-3.9' | int
3.9 | int
-3.9 | int
true | int
none | int
'ff' | int(0, 16)
'1e3' | int
'1e3' | float
'x' | float(2.5)
'2' | float
xs | float
-5 | abs
-5 | abs + 1
half | abs
lines | indent
lines | indent(2)
lines | indent(2, true)
lines | indent('> ', true, true)
'' | indent
text | replace('r', 'R')
text | replace('r', 'R', 1)
'aaa' | replace('', '-')
'aaa' | replace('aa', 'b')
12 | replace('1', 'x')
text | safe
nested | tojson
nested | tojson(indent=2)
[] | tojson(indent=2)
{} | tojson
quotes | tojson
script | tojson
script | tojson(ensure_ascii=true)
controls | tojson
controls | tojson(true)
nested | tojson(sort_keys=true)
{'b': 1, 'a': {'d': 1, 'c': 2}} | tojson(sort_keys=true, separators=(',', ':'))
{'b': 1, 'a': [1, 2]} | tojson(indent=4, separators=(',', ' = '))
{1: 2, none: 3, true: 4, 1.5: 5} | tojson
(1, 2) | tojson
[half, big, tiny, limit, 1e16] | tojson
missing | tojson
nothing | tojson
{'a': 1} | tojson(indent='--')
1 is defined
nothing is none
nothing is not none
missing is not defined
missing is undefined
text is string
xs is string
xs is sequence
xs is iterable
text is iterable
nested is mapping
nested is iterable
nested is sequence
missing is iterable
none is iterable
5 is sequence
1 is number
1.5 is number
yes is number
1 is integer
yes is integer
1.0 is integer
1.5 is float
yes is boolean
1 is boolean
yes is true
1 is true
no is false
none is false
4 is even
4 is odd
9 is divisibleby 3
9 is divisibleby(2)
'a' is in ['a', 'b']
'a' is in 'xyz'
1 is eq 1
1 is equalto(2)
1 is ne 2
2 is gt 1
2 is lt 1
2 is ge 2
2 is le 1
2 is greaterthan 1
2 is lessthan 1
'ABC' is upper
'abc' is lower
range is callable
5 is callable
1 is not odd
xs is not string and xs is iterable
not missing is defined
1 + 1 is odd
-1 is odd
text.split()
text.split(' ', 2)
spaces.split()
spaces.split(none, 1)
'a,b,,c'.split(',')
'a,b,,c'.split(',', 1)[-1]
'a,b,,c'.rsplit(',', 1)
' a b  c '.rsplit(none, 1)
'a</think>b</think>c'.split('</think>')[-1].lstrip('\n')
'abc'.split('')
lines.splitlines()
'xxabxx'.strip('x')
'xxabxx'.lstrip('x')
'xxabxx'.rstrip('x')
'\n ab \n'.strip()
'xyabyx'.strip('xy')
text.startswith('The')
text.endswith(('x', ')'))
text.startswith('')
text.startswith(1)
text.replace('q', 'Q').replace('o', '0', 1)
text.upper()
text.lower()
text.find('quick')
text.find('cat')
text.rfind('r')
text.index('cat')
text.count('r')
'aaaa'.count('aa')
', '.join(words)
''.join(xs)
'prefix-x'.removeprefix('prefix-')
'x.txt'.removesuffix('.txt')
'x'.removesuffix('')
'12'.isdigit()
'1a'.isdigit()
'ab'.isalpha()
'a1'.isalnum()
' '.isspace()
'AB'.isupper()
'ab'.islower()
nested.keys() | list
nested.values() | list
nested.get('a').b[0]
nested.get('q')
nested.get('q', 'none')
{'a': 1}.items() | list
xs.count(1)
xs.index(2)
xs.index(9)
xs.append(4)
nested.pop('a')
nested.update({})
text.__class__
xs.__len__
range(3) | list
range(1, 4) | list
range(10, 0, -3) | list
range(0) | list
range(1, 2, 0)
range(200000) | list
dict(a=1, b='x')
dict([('a', 1), ('b', 2)])
dict({'a': 1}, b=2)
namespace(a=1).a
namespace(_a=1)
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y, %A %B %-d, %H:%M:%S %I %p %j %y %a %e %F %T %D %R %%')
raise_exception('no')
unknown_function()
xs()
1 | nofilter
1 is notest
1 2
1 +
(1
[1, 2
'abc
a.b.
xs[
{'a' 1}
a if
1 ? 2
"""

# Whole templates, with the variables of DATA.
BLOCKS = [
    "{% for x in xs %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.length }}{{ loop.first }}{{ loop.last }};{% endfor %}",
    "{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}{{ loop.cycle('a', 'b') }} {% endfor %}",
    "{% for x in xs %}{% for y in words %}{{ loop.index }}{% endfor %}{{ loop.index }}{{ loop.depth }}\n{% endfor %}",
    "{% for x in xs if x > 1 %}{{ x }}{{ loop.length }}{% endfor %}",
    "{% for x in xs if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in missing %}x{% else %}empty{% endfor %}",
    "{% for x in none %}x{% endfor %}",
    "{% for x in 5 %}x{% endfor %}",
    "{% for c in 'héé' %}{{ c }}.{% endfor %}",
    "{% for k in nested %}{{ k }} {% endfor %}",
    "{% for k, v in nested.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in nested | items %}{{ k }}={{ v }};{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}",
    "{% for x in xs + [9] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in xs %}{% for y in xs %}{% if y == 1 %}{% break %}{% endif %}{{ y }}{% endfor %}|{% endfor %}",
    "{% break %}",
    "{% set x = 1 %}{% for y in xs %}{{ x }}{% set x = y %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(found=false, n=0) %}{% for x in xs %}{% if x == 1 %}{% set ns.found = true %}{% endif %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.found }} {{ ns.n }} {{ ns.missing }} {{ ns['n'] }}",
    "{% set x.y = 1 %}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns }}",
    "{% if no %}a{% elif nothing %}b{% elif xs %}c{% else %}d{% endif %}",
    "{% if no %}a{% else %}b{% endif %}{% if missing %}x{% endif %}",
    "{% if yes %}{% set inside = 1 %}{% endif %}{{ inside }}",
    "{% for x in xs %}{% set inside = 1 %}{% endfor %}[{{ inside }}]",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}",
    "{% set a, b = [1] %}",
    "{% set block %}x{{ xs }}\ny{% endset %}[{{ block }}]{{ block | length }}",
    "{% set block | trim | upper %}  x y {% endset %}[{{ block }}]",
    "{% set x = 1 %}{% set y %}{% set x = 2 %}{{ x }}{% endset %}{{ x }}{{ y }}",
    "{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=3) }} {{ m(b=5, a=4) }} {{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m() %}  x{{ outer }}  {% endmacro %}{% set outer = 5 %}[{{ m() }}][{{ m() | trim }}]{{ m() is string }}",
    "{% macro down(n) %}{{ n }}{% if n > 0 %},{{ down(n - 1) }}{% endif %}{% endmacro %}{{ down(5) }}",
    "{% macro m() %}{% set x = 2 %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{{ x }}",
    "{% for x in xs %}{{ late(x) }}{% endfor %}{% macro late(x) %}{{ x }}{% endmacro %}",
    "{% macro m(x) %}{{ loop }}{% endmacro %}{% for x in xs %}{{ m(x) }}{% endfor %}",
    "{% if yes %}{% macro m(x) %}<{{ x }}>{% endmacro %}{% endif %}{{ m(1) }}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}",
    "{% filter upper %}abc{{ xs }}{% endfilter %}",
    "{% filter replace('a', 'b') | upper %}abc{% endfilter %}",
    "{% generation %}x{% set y = 1 %}{{ y }}{% endgeneration %}[{{ y }}]",
    "{% for x in xs %}{% generation %}{{ x }}{{ loop.index }}{% endgeneration %}{% endfor %}",
    "{% print 1, 2 %}{% print xs %}",
    "{{ 1, 2 }}",
    "{% raw %}{{ x }} {% if %} {# c #}{% endraw %}after",
    "{% raw %}\n  x\n  {% endraw %}\n  y",
    "a\n  {%- raw -%}  x  {%- endraw -%}  \n y",
    "{# comment #}x{#- trimmed -#}  y",
    "a\n   {# alone #}\nb",
    "a {# not alone #}\nb",
    "{#-#}x", "{# {{ x }} {% y %} #}z", "{#+ kept +#}\nx",
    "a\n    {% if yes %}\n  b\n    {% endif %}\nc",
    "a\n    {%+ if yes %}\n  b\n    {%+ endif +%}\nc",
    "  {% if yes +%}\n x{% endif %}\n\n y",
    "a  {%- if yes -%}  b  {%- endif -%}  c",
    "a  {{- 1 -}}  b",
    "a\n  {{ 1 }}\n  b\n",
    "a\n\n\n{%- if yes %}\n\nb{% endif %}\n\n",
    "x\n", "x\n\n", "\n", "",
    "a\r\nb\rc\r\n",
    "{% if yes %}\r\na\r\n{% endif %}\r\nb",
    "\t{% set x = 1 %} \n{{ x }}",
    "x {% set x = 1 %}\ny",
    "{% set x = {'a': {'b': 1}} %}{{ x['a']['b'] }}{{ x }}{{ {'a': {'b': {}}} }}",
    "{{ '{{' }}{{ '%}' }}{{ \"}}\" }}",
    "{% set x = '%}' %}{{ x }}",
    "{ { } } {x} %} }} #}",
    "{{ x", "{% if yes", "{% if yes %}", "{# open", "{% raw %}x", "{% endif %}", "{% else %}", "{% unknown %}", "{{ }}", "{% %}",
    "{% for %}", "{% for x xs %}{% endfor %}", "{% set 1 = 2 %}", "{% set none = 2 %}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ ) }}", "{{ (] }}",
    "{% for x in range(3) %}{% if loop.last %}{{ loop.index }}{% endif %}{% endfor %}",
    "{% for p in people %}{{ p.name }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% set first = true %}{% for p in people | selectattr('tags', 'defined') %}{{ p['name'] }}{{ p.tags | first }}{% endfor %}",
    "{%- for p in people | sort(attribute='name') -%}\n  {{ p.name }}\n{%- endfor -%}\n",
    "{% set total = namespace(x=0) %}{% for x in xs if total.x < 3 %}{% set total.x = total.x + x %}{{ x }}{% endfor %}",
    "{{ messages | length }}{{ tools is none }}{{ tools is defined }}{{ documents }}{{ add_generation_prompt }}",
    "{% set messages = messages[1:] %}{{ messages }}",
    "{% for x in xs %}{% set y %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endset %}{{ y }}{% endfor %}",
    "{% if 'a' in nested and nested.a is mapping and (nested.a.b | length) > 1 %}ok{% endif %}",
    "{{ (people | map(attribute='name') | list)[0] }}{{ (words | sort)[1:3] | join }}",
    "{{ [people[0].name, *xs] }}",
    "{{ 'a' 'b' }}{{ 'a'\n'b' }}",
]


def render(template, messages, generate, variables):
    """The reference's text, or None when it refuses."""
    cleaned = [{k: v for k, v in message.items() if v is not None} for message in messages]
    variables = dict(variables)
    tools = variables.pop("tools", None)
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            conversations=[cleaned], tools=tools, chat_template=template, add_generation_prompt=generate, **variables)
        texts[0].encode("utf-8")
        return texts[0]
    except Exception:
        return None


class Clock(datetime.datetime):
    """Stands still."""

    @classmethod
    def now(cls, tz=None):
        return NOW


def main():
    chat_template_utils.datetime = Clock
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    families = []
    for name, template in FAMILIES.items():
        cases = []
        for title, messages in CONVERSATIONS.items():
            for tools in (None, TOOLS):
                for generate in (False, True):
                    variables = tokens | ({"tools": tools} if tools else {})
                    text = render(template, messages, generate, variables)
                    cases.append({"messages": title, "tools": tools is not None, "generate": generate, "text": text})
        families.append({"name": name, "template": template, "cases": cases})
    features = []
    question = CONVERSATIONS["question"]
    for expression in EXPRESSIONS.strip().split("\n"):
        template = "{{ " + expression + " }}"
        features.append({"template": template, "text": render(template, question, True, DATA)})
    for template in BLOCKS:
        features.append({"template": template, "text": render(template, question, True, DATA)})
    result = {
        "conversations": CONVERSATIONS, "tools": TOOLS, "tokens": tokens, "data": DATA,
        "now": [NOW.year, NOW.month, NOW.day, NOW.hour, NOW.minute, NOW.second],
        "families": families, "features": features,
    }
    OUT.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    refused = sum(f["text"] is None for f in features)
    print(f"{OUT.name}: {sum(len(f['cases']) for f in families)} conversations, {len(features)} features, {refused} refused")


if __name__ == "__main__":
    main()
