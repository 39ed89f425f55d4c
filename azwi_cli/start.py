"""The console script: until azwi's own modules are loaded, Ctrl-C ends the process at once, without a traceback."""

import signal


def run() -> None:
    """Load azwi and run it."""
    # A parent may have had SIGINT ignored, as nohup and `&` in a script do: that stays.
    has_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if has_default:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from azwi_cli import main  # noqa: PLC0415  see above

    if has_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main.run()
