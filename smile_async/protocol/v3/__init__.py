"""Version 3 of the API: one multipart request a job, a token with each, and ids that the server makes.

Pure, like all of the protocol: bodies in and out are bytes, tokens are handed in, and somebody else carries them.
"""
