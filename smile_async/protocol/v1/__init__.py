"""Version 1 of the API ("WebApi"): what goes out, what comes back, and what may be repeated without a second bill.

Pure, like all of the protocol: bodies in and out are bytes, steps are values, and somebody else carries them.
"""
