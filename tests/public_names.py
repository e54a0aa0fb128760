"""Every documented import path and its names, imported for real: `python public_names.py [smile_async.sandbox …]`.

Without arguments: what must work where nothing but the wheel and its core dependencies is installed. Arguments name
modules of extras that are installed too. Run from outside the repository, so that the wheel is what is imported.
"""

import importlib
import sys

#: Design contract, section 1: these paths and names are the library.
CORE = {
    "smile_async": "SmileSession Limits Pace Stats Job Product JobType Image IdInfo Document Person Consent Ticket"
    " Verdict Decision JobStatus Finished Failed"
    " classify explain CodeMeaning CallbackReceiver verify_callback SmileError",
    "smile_async.errors": "SmileError BadConfiguration InvalidJob Refused NotAuthorized RateLimited IdNumberBlocked"
    " UserNotEnrolled AlreadyEnrolled JobExists JobNotFound Unavailable SubmissionUnknown"
    " UploadFailed StillPending UnreadableReply ForgedReply"
    " StaleReply LedgerFailed LeaseLost SessionClosed WrongLoop",
    "smile_async.callbacks": "CallbackReceiver PRODUCTION_ADDRESSES PRODUCTION_ADDRESSES_V3 SANDBOX_ADDRESSES_V3"
    " verify_callback",
    "smile_async.webapi": "Base BusinessVerification IdApi ImageTypes JobType ServerError Signature Utilities WebApi",
    "smile_async.webapi.constants": "ImageTypes JobType",
    "smile_async.webapi.types": "Base64Image FileImage ImageParams OptionsParams SignatureParams",
    "smile_async.testing": "API_KEY BASE_URL PARTNER_ID SELFIE UPLOAD_URL callback_body status_reply upload_reply",
    "smile_async.session": "SmileSession",
    "smile_async.doctor": "Finding Report State",
    "smile_async.cli": "main",
}
EXTRAS = {
    "smile_async.sandbox": "Sandbox RunningSandbox Settings Fault Leg JobRecord ImageRecord CallbackSent Message"
    " LogEntry RequestLog serve_forever",
    "smile_async.ledger": "Ledger State as_ledger",
    "smile_async.batch": "Flaw Planner Row Run Tally job_id_of job_of read_manifest render",
    "smile_async.workers": "Queue Worker",
    "smile_async.pytest_plugin": "smile_api smile_callback smile_clock smile_sandbox smile_session smile_settings",
}


def missing(module: str, names: str) -> list[str]:
    """The names that *module* lacks; raises ImportError if it can not be imported itself."""
    found = importlib.import_module(module)
    return [f"{module}.{name}" for name in names.split() if not hasattr(found, name)]


def main(extras: list[str]) -> int:
    """Import all, print what is missing; 1 if anything is."""
    wanted = CORE | {name: EXTRAS[name] for name in extras}
    lacking = [name for module, names in wanted.items() for name in missing(module, names)]
    print(*lacking, sep="\n") if lacking else print(f"{len(wanted)} modules, every documented name is there")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
