"""usesmileid 12.1.0, the official SDK of V3, in a thread pool: it knows no other way, and holds a thread for each wait.

It runs in a virtual environment of its own. All threads share one client, and with it its connections and its token,
and it polls as often as we do: as shipped it sleeps two seconds before its second poll.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from meter import Window, spec, tell

PERSON = {"given_names": "Ada", "last_name": "Obi", "email": "ada.obi@example.com"}
CONSENT = {
    "granted": True,
    "granted_at": "2026-01-02T03:04:05.678Z",
    "notice_language": "EN",
    "notice_privacy_policy_url": "https://shop.example/privacy",
}


def one(client: Any, told: dict[str, Any], number: int) -> dict[str, Any]:
    """One job, from its pictures to its verdict."""
    selfie, *liveness = told["images"]
    accepted = client.biometric.authenticate(
        user_id=f"user-{number}",
        consent=CONSENT,
        user_details=PERSON,
        selfie_image=selfie,
        liveness_images=liveness,
    )
    found = client.verifications.wait_until_complete(accepted.job_id, interval=told["pace"][0])
    if found.status != "clear":
        raise RuntimeError(f"a job went wrong: {found}")
    # It drops what it does not know; everybody's jobs are decided at the same poll.
    return {"Available": None, "Polls": told["polls"]}


def main() -> None:
    told = spec()
    os.environ["SSL_CERT_FILE"] = told["ca_file"]
    import usesmileid  # noqa: PLC0415 - after the CA bundle is in the environment

    base_url = told["base_url_v3"].removesuffix("/v3")
    client = usesmileid.Client(partner_id=told["partner_id"].lstrip("0"), api_key=told["api_key"], base_url=base_url)
    window = Window(told)

    def note(done: "Future[dict[str, Any]]") -> None:
        window.verdict(done.result())

    with ThreadPoolExecutor(told["threads"]) as threads:
        for count in (told["warm"], told["jobs"]):
            window.open()
            futures = [threads.submit(partial(one, client, told, number)) for number in range(count)]
            for future in futures:
                future.add_done_callback(note)
            for future in futures:
                future.result()
    tell(window.close() | {"api": "HTTP/1.1"})


if __name__ == "__main__":
    main()
