"""Runs in a venv that has the official V3 SDK and nothing of ours: makes the calls it is given, a line of JSON each.

On standard input `{"client": {…}, "pictures": {name: base64}, "calls": [[method, arguments], …]}`. Of the arguments,
`"@name"` is a picture, and `"$3.job_id"` a field of what the call number 3 was answered.
"""

import base64
import json
import sys
from functools import reduce

import usesmileid
from usesmileid.errors import SmileIDError


def main() -> None:
    """Make them."""
    asked = json.load(sys.stdin)
    pictures = {f"@{name}": base64.b64decode(text) for name, text in asked["pictures"].items()}
    answers: list[dict] = []

    def meant(value):
        if isinstance(value, list):
            return [meant(each) for each in value]
        if isinstance(value, str) and value.startswith("$"):
            number, _, field = value[1:].partition(".")
            return answers[int(number)]["answer"][field]
        return pictures.get(value, value) if isinstance(value, str) else value

    clients: dict[str, usesmileid.Client] = {}
    for method, arguments in asked["calls"]:
        options = {**asked["client"], **arguments.pop("client", {})}
        key = json.dumps(options)
        client = clients[key] = clients.get(key) or usesmileid.Client(**options)
        positional = [meant(each) for each in arguments.pop("args", [])]
        call = reduce(getattr, method.split("."), client)
        try:
            said = call(*positional, **{name: meant(value) for name, value in arguments.items()})
            answers.append({"answer": said.model_dump()})
        except SmileIDError as error:
            refused = type(error).__name__
            answers.append({"refused": refused, "status": error.status_code, "said": error.message, "code": error.code})
        print(json.dumps(answers[-1]))


main()
