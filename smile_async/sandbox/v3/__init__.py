"""The Smile ID V3 API on the same desk: same port, jobs, users, faults and console, another wire.

Written from the provider's OpenAPI file (3.952.0) and what the official Python SDK (usesmileid 12.1.0) sends, and run
against that SDK; no line is shared with our own client's V3.
"""
