"""`smile-async doctor`: the first contact with a real account, and the answers that no public source gives.

Run it once where the program will run, with the same SMILE_* variables, before a line of the program is written:

    smile-async doctor                              what costs nothing: settings, network, clock, key, lists
    smile-async doctor --selfie me.jpg              sandbox jobs as well, all of a made-up user
    smile-async doctor --selfie me.jpg --thorough   and what takes patience: up to twenty minutes, six refused calls
    smile-async doctor --api v3                     the same of the newer API, whose base URL ends in /v3

Each line is one finding: seconds it took, its state, its name, what was seen and, where there is one, the cure. `ok`,
`warning` and `failure` are about this machine, this account and the way between; a failure makes the exit code 3.
`expected`, `different` and `still unknown` are about the provider: the wire reference (wire.md) marks what is not
published, and this library has assumed something there. *Different* harms nobody by itself, for the library bears
either answer, but it is news: send it to us, with the report. *Still unknown* says what it would take to know;
without --selfie these lines are only counted, and stand in what --json and --save write.

--selfie makes jobs: a registration, authentications that sandbox_result lets come to each of its three results, one
lookup of each product by the documented test numbers; of V3 the like, of the test identity that is always `clear`. They
go to a server that is known to be a sandbox, the provider's or one on this machine; any other needs --production, typed
out, where they may be billed, and where nothing but a registration and an authentication is done (of V3 nothing: its
jobs need a person's consent). A job that went up can not be taken back: its user is called `doctor-` and a random
number.

--save writes the report, for a ticket: host names, codes, HTTP statuses and times; no key, signature, token, presigned
URL, number of an id, or byte of a picture; what was found before an interruption is written too. Pin the upload host
that it names: the line is ready to be copied. From then on the way to it is looked at without any upload.
"""

from smile_async.doctor.findings import Finding, Report, State

__all__ = ["Finding", "Report", "State"]
