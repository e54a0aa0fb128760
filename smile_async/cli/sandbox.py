"""`smile-async sandbox`: the APIs on your desk, and the lines a second shell needs to find one of them.

With a further word (steering.py) it serves nothing, but steers a sandbox that runs elsewhere.
"""
# ruff: noqa: PLR0917 - typer reads the options from the signature

import asyncio
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from inspect import Parameter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smile_async.cli import options
from smile_async.cli.output import ExitCode, aside, plain
from smile_async.cli.steering import TOKEN, steer
from smile_async.cli.streams import print_document

if TYPE_CHECKING:
    from smile_async.sandbox import RunningSandbox

__all__ = ["Api", "sandbox"]


class Api(StrEnum):
    """An API of Smile ID's."""

    V1 = "v1"
    V3 = "v3"


sandbox = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
steer(sandbox)


def _unshown(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, show_default=False, **more)


_NAME = "Name by which other machines reach it: in URLs and certificate."
#: What of `smile_async.sandbox.Settings` can be chosen here.
_SETTINGS: Mapping[str, tuple[Any, Any]] = {
    "partner_id": (Annotated[str, typer.Option(help="The one partner account.")], "001"),
    "api_key": (Annotated[str, _unshown("Its key; by default a random one.")], ""),
    "state": (Annotated[Path | None, _unshown("Directory that survives restarts.")], None),
    "latency": (Annotated[float, typer.Option(help="Seconds from the arrival of a zip to the first result.")], 0.0),
    "review": (
        Annotated[float | None, _unshown("Seconds from a provisional result to the final one; by default never.")],
        None,
    ),
    "public_host": (Annotated[str | None, _unshown(_NAME)], None),
    "token": (Annotated[str, _unshown("What others must show; by default random.", envvar=TOKEN)], ""),
    "cert_file": (
        Annotated[Path | None, _unshown("PEM file: serve with this certificate.", "--cert")],
        None,
    ),
    "key_file": (Annotated[Path | None, _unshown("PEM file: its key.", "--key")], None),
    "callback_url": (Annotated[str, _unshown("Where callbacks go of jobs that name no URL.")], ""),
    "insecure_callbacks": (
        Annotated[bool, _unshown("Send callbacks to plain http off loopback too.", "--insecure-callbacks")],
        False,
    ),
    "console": (Annotated[bool, typer.Option(help="Serve the web page at / of the API.")], True),
}


def _with_settings(command: Callable[..., int]) -> Callable[..., int]:
    own = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _SETTINGS.items()
    ]
    return options.gathered(command, "settings", own, dict)


@sandbox.callback()
@_with_settings
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the API; 0: any free one.", min=0, max=65535)] = 8443,
    storage_port: Annotated[int, typer.Option(help="Port of the storage; 0: any free one.", min=0, max=65535)] = 8444,
    api: Annotated[Api, typer.Option(help="The API that the printed lines lead to.")] = Api.V1,
    settings: Mapping[str, Any] = MappingProxyType({}),
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of export lines.")] = False,
) -> int:
    """Serve Smile ID's APIs on your desk.

    Without a command it prints `export NAME=value` lines for SMILE_PARTNER_ID, SMILE_API_KEY, SMILE_BASE_URL
    and SMILE_CA_FILE once it accepts connections, and goes on until interrupted; a second shell that reads them talks
    to it, and steers it with the commands below. With --api v3 the URL is V3's, and SMILE_API says so. Where other
    machines can connect there is SMILE_SANDBOX_TOKEN, too, which console and commands then want.
    """
    if context.invoked_subcommand is not None:
        return _checked(context)
    # Needs another extra than the other commands, and half a second.
    from smile_async.sandbox import serve_forever  # noqa: PLC0415

    announce = partial(_announce, json, until_eof, api is Api.V3)
    try:
        asyncio.run(serve_forever(announce, host=host, port=port, storage_port=storage_port, **settings))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    except OSError as error:
        where = f"{host}, ports {port} and {storage_port}: {error.strerror or error}"
        raise OSError(f"can not listen on {where}; give others with --port and --storage-port (0: any)") from None
    return ExitCode.DONE


def _checked(context: typer.Context) -> int:
    """Raise typer.BadParameter if there are options that only who serves can mean."""
    used = [
        each.opts[0]
        for each in context.command.params
        if getattr(context.get_parameter_source(each.name or ""), "name", "") == "COMMANDLINE"
    ]
    if used:
        word = context.invoked_subcommand
        raise typer.BadParameter(f"{', '.join(used)} is for serving: put what `{word}` takes behind that word")
    return ExitCode.DONE


def _announce(as_json: bool, until_eof: bool, v3: bool, running: "RunningSandbox") -> None:
    names = {
        "SMILE_PARTNER_ID": running.partner_id,
        "SMILE_API_KEY": running.api_key,
        "SMILE_BASE_URL": running.base_url_v3 if v3 else running.base_url,
        **({"SMILE_CA_FILE": running.ca_file} if running.ca_file else {}),
        **({"SMILE_API": "v3"} if v3 else {}),
        **({TOKEN: running.token} if running.guarded else {}),
    }
    if as_json:
        print_document(names)
    else:
        sys.stdout.write("".join(f"export {name}={shlex.quote(value)}\n" for name, value in names.items()))
        sys.stdout.flush()
        if sys.stderr.isatty():
            aside().print("[dim]read these lines in a second shell; stop with Ctrl-C[/dim]")
            if running.console_url:
                aside().print(f"[dim]jobs, pictures and a reviewer's buttons: {plain(running.console_url)}[/dim]")
                aside().print(
                    "[dim]your browser will warn about the certificate: it is signed by a CA that this sandbox has made"
                    " for itself, and that no browser knows; at this address, go on[/dim]"
                )
    if running.ca_file and (running.guarded or sys.stderr.isatty()):
        others = "curl --cacert, NODE_EXTRA_CA_CERTS, SSL_CERT_FILE, REQUESTS_CA_BUNDLE"
        aside().print(f"[dim]trust our CA: SMILE_CA_FILE={plain(running.ca_file)} (or {others})[/dim]")
    if until_eof:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()


def _stop_at_end_of_input() -> None:
    # Whoever started us holds the other end, even if it dies without a word; then nobody needs us any more.
    # Not sys.stdin: at exit the interpreter would wait for the lock this thread holds while it reads.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
