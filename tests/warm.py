"""`python -IS warm.py DOOR ARGUMENTS` is `python ARGUMENTS` by a child of the nursery at DOOR, which has all imported.

It has the standard streams, directory, environment, SIGINT and SIGTERM of this process, which has its exit code.
"""

import json
import os
import signal
import socket
import sys

door, *arguments = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as line:
    line.connect(door)
    # Without pathlib, which would cost as much as all the rest.
    order = json.dumps({"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}) + "\n"  # noqa: PTH109
    socket.send_fds(line, [order[:1].encode()], [0, 1, 2])
    line.sendall(order[1:].encode())
    with line.makefile() as said:
        child = int(said.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(child, number))
        code = said.readline()
sys.exit(int(code))
