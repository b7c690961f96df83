"""The one exception that a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """Something that the person at the keyboard can put right.

    The message is one or two lines: what is wrong (naming the file or the key), and what to do. The command line
    prints it without a traceback and exits with status 2; the plugin shows it as a notification.
    """
