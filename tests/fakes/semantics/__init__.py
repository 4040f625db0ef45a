"""What an API server does, as a table of small plays, played at the fake and at the real one so that the fake can't drift."""

from fakes.semantics import applies, deletions, kubectl, lists, statuses, values, writes

TABLE = (
    *writes.TABLE,
    *deletions.TABLE,
    *statuses.TABLE,
    *values.TABLE,
    *applies.TABLE,
    *kubectl.TABLE,
    *lists.TABLE,
)
EXPIRED = lists.EXPIRED
