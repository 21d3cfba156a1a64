"""What a viewer may ask of an engine through the run file. The engine answers in the event stream."""

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="name"):
    """Base of all commands."""


class Pause(Command, frozen=True, kw_only=True, tag="pause"):
    """Send no new request; answered by `RunPaused`."""


class Resume(Command, frozen=True, kw_only=True, tag="resume"):
    """Send requests again; answered by `RunResumed`."""


class Cancel(Command, frozen=True, kw_only=True, tag="cancel"):
    """End the run and keep what was finished; answered by `RunFinished`."""


class StopSample(Command, frozen=True, kw_only=True, tag="stop-sample"):
    """End one sample before its next request; answered by `SampleFinished`."""

    problem: int
    sample: int


class RetrySample(Command, frozen=True, kw_only=True, tag="retry-sample"):
    """Let a failed sample go on from its last finished step; answered by `SampleStarted`."""

    problem: int
    sample: int


AnyCommand = Pause | Resume | Cancel | StopSample | RetrySample

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyCommand)


def encode(command: AnyCommand) -> str:
    """JSON of one command."""
    return _encoder.encode(command).decode()


def decode(body: str) -> AnyCommand:
    """The inverse of `encode`. Raises msgspec.MsgspecError on anything else."""
    command: AnyCommand = _decoder.decode(body)
    return command
