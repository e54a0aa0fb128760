"""How it is said: signatures, the steps of a conversation, and a folder for each version of the provider's API.

Pure, and the only storey that knows the provider's field names. It may touch timing and jobs.
"""
