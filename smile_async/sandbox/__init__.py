r"""The Smile ID APIs, v1 and V3, on your desk: they check what the real ones check, and you decide the outcomes.

A client that is only ever tested against its author's idea of the server inherits the author's mistakes. This sandbox
shares no code with the client (own signatures, own JSON, own zip reader), is exercised by the official SDK in our
tests, and keeps every fact of its behaviour beside the place where it was documented.

## The sandbox for a team

One that runs serves tests in any language: what a test in Python says to its `Sandbox` they say over HTTP, at the
port of the API. `GET /_sandbox` lists what there is. In a shell that has read the lines of `smile-async sandbox`:

    steer() {
      curl -sS --fail-with-body --cacert "$SMILE_CA_FILE" -H "X-Smile-Sandbox: ${SMILE_SANDBOX_TOKEN:-1}" \
        "${SMILE_BASE_URL%/v?}/_sandbox/$@"
    }
    steer reset -X POST
    steer enroll -d '{"user_id": "ada"}'
    steer script -d '{"user_id": "ada", "code": "0822"}'
    steer fault -d '{"leg": "job_status", "status": 503, "times": 2}'
    # now your application sends its job login-1 of ada's, which people are to review
    steer 'jobs?user_id=ada'
    steer review -d '{"job_id": "login-1", "judgement": "approve"}'
    steer 'callbacks?job_id=login-1'
    steer 'log?job_id=login-1'

Or without curl: `smile-async sandbox enroll ada`, `smile-async sandbox review login-1 approve`, and so on, also where
only the extra `cli` is installed. A 400 says what is wrong and what to give.

The log has the last 500 exchanges, refused ones and callbacks too, with the fault that has hit them: here, in Python
(`sandbox.log`), and on the console's page `/console/log`. Values are shown of ids, codes and the API's words alone:
no key, signature, token, picture, number of anybody's, nor an address that could be used.

On this machine the header X-Smile-Sandbox may say anything: no page of another site can send it, and a Host that is not
this machine's is answered 421. Where others can connect (`--host`, `--public-host`) it must be the access token, which
is printed at the start, or is SMILE_SANDBOX_TOKEN if that is set. Between containers:

    services:
      sandbox:
        build:  # the context is a clone of this library
          context: ./smile_async
          dockerfile_inline: "FROM python:3.13-slim\nCOPY . /src\nRUN pip install '/src[cli,sandbox]'"
        command: smile-async sandbox --host 0.0.0.0 --public-host sandbox --api-key ${SMILE_API_KEY:?} --state /smile
          --callback-url http://app:8000/smile --insecure-callbacks
        environment: {SMILE_SANDBOX_TOKEN: "${SMILE_SANDBOX_TOKEN:?}"}
        volumes: ["smile:/smile"]
        healthcheck: {test: smile-async sandbox jobs --url https://localhost:8443 --ca-file /smile/ca.pem, interval: 2s}
      app:
        build: .
        environment:
          {SMILE_PARTNER_ID: "001", SMILE_API_KEY: "${SMILE_API_KEY:?}", SMILE_BASE_URL: "https://sandbox:8443/v1",
           SMILE_CA_FILE: /smile/ca.pem, SMILE_SANDBOX_TOKEN: "${SMILE_SANDBOX_TOKEN:?}"}
        volumes: ["smile:/smile:ro"]
        depends_on: {sandbox: {condition: service_healthy}}
    volumes: {smile: {}}

The name of --public-host stands in the URLs, those of uploads too, and in the certificate. That is made anew at each
start, by a CA whose own certificate is in the state directory (ca.pem) and on no other machine's list: SMILE_CA_FILE
leads to it, as do `curl --cacert`, NODE_EXTRA_CA_CERTS and SSL_CERT_FILE. With a certificate that everybody trusts
already, `--cert FILE --key FILE`, none of that is needed.
"""

try:
    import granian as _granian
    import jinja2 as _jinja2
    import starlette as _starlette
    import trustme as _trustme
except ImportError as missing:  # pragma: no cover - the test environment has every extra
    raise ImportError(
        f"the sandbox needs the package {missing.name}: run  pip install 'smile-async[sandbox]'"
    ) from missing

from .faults import Fault, Leg
from .process import serve_forever
from .records import CallbackSent, ImageRecord, JobRecord, Message
from .request_log import LogEntry, RequestLog
from .sandbox import Sandbox
from .server import RunningSandbox
from .settings import Settings

del _granian, _jinja2, _starlette, _trustme

__all__ = [
    "CallbackSent",
    "Fault",
    "ImageRecord",
    "JobRecord",
    "Leg",
    "LogEntry",
    "Message",
    "RequestLog",
    "RunningSandbox",
    "Sandbox",
    "Settings",
    "serve_forever",
]
