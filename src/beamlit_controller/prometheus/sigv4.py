"""Signs requests with AWS Signature Version 4, by botocore."""

from dataclasses import dataclass, field

from beamlit_controller.core.cloud_identity import AwsIdentity


@dataclass(frozen=True, slots=True)
class AwsSigner:
    """The current keys, and the region and service that they sign for."""

    identity: AwsIdentity
    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    def headers(self, url: str, body: bytes, content_type: str) -> tuple[tuple[str, str], ...]:
        """Return the headers of a signed POST. The URL has no query, as there is more than one way to write one."""
        from botocore.auth import SigV4Auth  # noqa: PLC0415 - an extra that not everybody has
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - the same
        from botocore.credentials import Credentials as Keys  # noqa: PLC0415 - the same

        request = AWSRequest(method="POST", url=url, data=body, headers={"content-type": content_type})
        keys = Keys(self.access_key, self.secret_key, self.token)
        SigV4Auth(keys, self.identity.service, self.identity.region).add_auth(request)
        return tuple(request.headers.items())
