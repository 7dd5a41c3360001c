"""Owner, permissions and times of a file, as far as a system lets one set them."""

import contextlib
import errno
import os
import stat

_NOT_HERE = {
    errno.EPERM,
    errno.EACCES,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EROFS,
    errno.ENOTTY,
}


def special_bits(status: os.stat_result) -> str:
    bits = {stat.S_ISUID: "the set-user-ID bit", stat.S_ISGID: "the set-group-ID bit", stat.S_ISVTX: "the sticky bit"}
    return ", ".join(name for bit, name in bits.items() if status.st_mode & bit)


def umask() -> int:
    mask = os.umask(0o077)  # there is no other way to read it
    os.umask(mask)
    return mask


def copy_status(descriptor: int, like: os.stat_result | None) -> list[str]:
    """Owner where we may, permissions, times. Set-id bits are never copied. What was refused."""
    refused = []
    mode = 0o666 & ~umask() if like is None else _copy_owner(descriptor, like)
    try:
        os.chmod(descriptor, mode)
    except OSError as error:
        refused.append(refusal(error, "has other permissions than it should have"))
    if like is not None:
        try:
            os.utime(descriptor, ns=(like.st_atime_ns, like.st_mtime_ns))
        except OSError as error:
            refused.append(refusal(error, "has other times than its source"))
        if lost := special_bits(like):
            refused.append(f"does not have {lost} of its source")
    return refused


def _copy_owner(descriptor: int, like: os.stat_result) -> int:
    """The permissions that go with what could be done."""
    mode = stat.S_IMODE(like.st_mode) & 0o777
    if hasattr(os, "fchown"):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, like.st_uid, -1)
        try:
            os.fchown(descriptor, -1, like.st_gid)
        except OSError:  # another group must not get rights that were given to this one
            others = mode & 0o007 & (mode >> 3)
            mode = mode & 0o700 | others << 3 | others
    return mode


def refusal(error: OSError, what: str) -> str:
    """The words for something that a file system cannot do; anything else is an error."""
    if error.errno not in _NOT_HERE:
        raise error
    return f"{what}: {(error.strerror or str(error)).lower()}"
