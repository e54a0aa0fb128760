"""smile-id-core 3.0.1, the official SDK, in a thread pool: the only way it has to do many jobs at once.

It runs in a virtual environment of its own, since other packages can swap its urllib3. Its sleeps between polls cost
wall time, not CPU; that is why contenders are compared by CPU per job.
"""

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from meter import Window, spec, tell


def one(told: dict[str, Any], number: int) -> Any:
    from smile_id_core import WebApi  # noqa: PLC0415 - after the CA bundle is in the environment

    selfie, *liveness = told["images"]
    pictures = [
        {"image_type_id": 0, "file_name": selfie},
        *({"image_type_id": 4, "file_name": path} for path in liveness),
    ]
    api = WebApi(told["partner_id"], "", told["api_key"], told["base_url"])
    status = api.submit_job(
        {"user_id": f"user-{number}", "job_id": str(uuid.uuid4()), "job_type": 2},
        pictures,
        {},
        {"return_job_status": True, "return_history": False, "return_images": False, "use_enrolled_image": False},
    )
    if status["result"]["ResultCode"] != "0820":
        raise RuntimeError(f"a job went wrong: {status}")
    return status["result"]


def look_up(told: dict[str, Any], number: int) -> Any:
    from smile_id_core import IdApi  # noqa: PLC0415 - as above

    api = IdApi(told["partner_id"], told["api_key"], told["base_url"])
    params = {"user_id": f"user-{number}", "job_id": str(uuid.uuid4()), "job_type": 5}
    found = api.submit_job(params, told["lookups"])
    if found["ResultCode"] != "1012":
        raise RuntimeError(f"a job went wrong: {found}")
    return found


def main() -> None:
    told = spec()
    os.environ["REQUESTS_CA_BUNDLE"] = told["ca_file"]
    window = Window(told)
    with ThreadPoolExecutor(told["threads"]) as threads:
        for count in (told["warm"], told["jobs"]):
            window.open()
            # The main thread only takes note, as soon as each verdict is there.
            work = look_up if told.get("lookups") else one
            futures = []
            for number in range(count):
                futures.append(threads.submit(work, told, number))
                futures[-1].add_done_callback(lambda done: window.verdict(done.result()))
                if told.get("per_second"):
                    time.sleep(1 / told["per_second"])
            for future in futures:
                future.result()
    tell(window.close() | {"api": "HTTP/1.1"})


if __name__ == "__main__":
    main()
