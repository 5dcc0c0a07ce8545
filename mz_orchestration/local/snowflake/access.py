"""Who owns an object, what is granted on it, and which roles a role inherits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

ADMIN = "ACCOUNTADMIN"
EVERYBODY = "PUBLIC"
SYSTEM_ROLES = (ADMIN, "SECURITYADMIN", "USERADMIN", "SYSADMIN", EVERYBODY)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Grant:
    """One privilege granted to a role."""

    privilege: str
    role: str
    granted_by: str
    option: bool = False
    created: datetime = field(default_factory=_now)


@dataclass(eq=False)
class Access:
    """Owner and grants of one object. It belongs to the object: ALTER keeps it, a name that moves takes it along."""

    owner: str = ADMIN
    grants: list[Grant] = field(default_factory=list)
    created: datetime = field(default_factory=_now)

    def add(self, grant: Grant) -> None:
        """Grant a privilege; one granted before is not granted twice."""
        self.remove(grant.privilege, grant.role)
        self.grants.append(grant)

    def remove(self, privilege: str, role: str) -> None:
        """Revoke a privilege."""
        self.grants = [g for g in self.grants if (g.privilege, g.role) != (privilege, role)]

    def copied(self, owner: str) -> Access:
        """What COPY GRANTS gives a new object: all but the ownership, granted by the role that copies."""
        return Access(owner, [Grant(g.privilege, g.role, owner, g.option) for g in self.grants])

    def privileges(self, roles: frozenset[str]) -> set[str]:
        """What these roles together hold."""
        held = {g.privilege for g in self.grants if g.role in roles}
        return held | {"OWNERSHIP"} if self.owner in roles else held

    def rows(self) -> list[Grant]:
        """All grants as SHOW GRANTS lists them, the ownership among them."""
        return [Grant("OWNERSHIP", self.owner, self.owner, True, self.created), *self.grants]


@dataclass(frozen=True)
class FutureGrant:
    """A privilege that objects created later in a schema (or database) will have."""

    kind: str
    privilege: str
    role: str
    option: bool = False
    created: datetime = field(default_factory=_now)


@dataclass(frozen=True)
class RoleGrant:
    """A role granted to a role or to a user."""

    role: str
    to_kind: str
    to: str
    granted_by: str
    created: datetime = field(default_factory=_now)


class Roles:
    """The hierarchy of roles."""

    def __init__(self) -> None:
        self.grants: list[RoleGrant] = [
            RoleGrant("SECURITYADMIN", "ROLE", ADMIN, ""),
            RoleGrant("SYSADMIN", "ROLE", ADMIN, ""),
            RoleGrant("USERADMIN", "ROLE", "SECURITYADMIN", ""),
            RoleGrant(ADMIN, "USER", "LOCAL", ""),
        ]

    def add(self, grant: RoleGrant) -> None:
        """Grant a role."""
        self.remove(grant.role, grant.to_kind, grant.to)
        self.grants.append(grant)

    def remove(self, role: str, to_kind: str, to: str) -> None:
        """Revoke a role."""
        self.grants = [g for g in self.grants if (g.role, g.to_kind, g.to) != (role, to_kind, to)]

    def forget(self, role: str) -> None:
        """Drop a role from the hierarchy."""
        self.grants = [g for g in self.grants if g.role != role and (g.to_kind, g.to) != ("ROLE", role)]

    def inherited(self, role: str) -> frozenset[str]:
        """The role itself, PUBLIC, and every role granted to one of them."""
        found, waiting = {role, EVERYBODY}, [role]
        while waiting:
            here = waiting.pop()
            for grant in self.grants:
                if (grant.to_kind, grant.to) == ("ROLE", here) and grant.role not in found:
                    found.add(grant.role)
                    waiting.append(grant.role)
        return frozenset(found)

    def of_user(self, user: str) -> frozenset[str]:
        """Every role a user may take."""
        found = {EVERYBODY}
        for grant in self.grants:
            if (grant.to_kind, grant.to) == ("USER", user):
                found |= self.inherited(grant.role)
        return frozenset(found)
