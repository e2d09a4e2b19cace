"""The start of ``d3g-lfo``. From here on Ctrl-C is one line, also while packages are imported."""

import _signal  # type: ignore[import-not-found]  # as signal, without the imports that come with it
import os

INTERRUPTED = b"Error: interrupted; finished work is saved\n"


def main() -> None:
    """Run :func:`lfo.cli.main`."""
    handled = (
        _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
    )  # else it is ignored, as by nohup
    if handled:
        _signal.signal(_signal.SIGINT, _interrupt)
    from lfo.cli import main as run

    try:
        run()
    except KeyboardInterrupt:  # before the command could begin, or when it had ended
        os.write(2, INTERRUPTED)
        raise SystemExit(1) from None
    finally:
        if handled:
            _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # all is done but Python's own end


def _interrupt(number, frame):  # type: ignore[no-untyped-def]  # types would have to be imported
    """Raise KeyboardInterrupt; inside an import, which may turn that into anything else, end at once."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, INTERRUPTED)
            os._exit(1)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
