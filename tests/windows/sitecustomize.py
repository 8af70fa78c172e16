"""Python as Fluxport would see it on Windows, for this process and its children, once this folder is in PYTHONPATH.

There is no Windows in the tests. What Windows lacks is hidden from modules of Fluxport alone, since those of Python and
of others know which system they are on: modules, attributes of ``os`` and the like. Their views say that the platform
is win32. Files that are open can be neither deleted nor renamed, folders cannot be opened, by any module.
"""

from __future__ import annotations

import builtins
import errno
import os
import sys
import types
from collections.abc import Callable
from typing import Any

MODULES = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog", "posix", "crypt", "readline"}
HIDDEN: dict[str, set[str]] = {
    "os": {
        *(
            "fork",
            "forkpty",
            "fchmod",
            "fchown",
            "chown",
            "chroot",
            "getuid",
            "geteuid",
            "getgid",
            "getegid",
            "getpgid",
        ),
        *("setsid", "killpg", "pread", "pwrite", "preadv", "pwritev", "sendfile", "statvfs", "fstatvfs", "mkfifo"),
        *("sched_getaffinity", "sched_setaffinity", "register_at_fork", "set_blocking", "get_blocking", "getloadavg"),
        *(
            "O_DIRECTORY",
            "O_NOFOLLOW",
            "O_CLOEXEC",
            "O_NONBLOCK",
            "O_NOCTTY",
            "O_TMPFILE",
            "O_SYNC",
            "O_DSYNC",
            "uname",
        ),
        *(
            "fdatasync",
            "fchdir",
            "memfd_create",
            "posix_fadvise",
            "posix_fallocate",
            "waitid",
            "wait3",
            "wait4",
            "ttyname",
        ),
        *(
            "posix_spawn",
            "posix_spawnp",
            "pipe2",
            "sysconf",
            "confstr",
            "pathconf",
            "fpathconf",
            "nice",
            "sync",
            "mknod",
        ),
        *("setuid", "setgid", "setgroups", "getgroups", "setpgid", "getsid", "tcgetpgrp", "openpty", "lockf", "splice"),
        *("lchown", "getpriority", "getrandom", "copy_file_range", "environb", "O_DIRECT", "O_PATH", "O_ASYNC", "wait"),
        *("WNOHANG", "WIFEXITED", "WEXITSTATUS", "WIFSIGNALED", "WTERMSIG", "pidfd_open", "eventfd", "initgroups"),
    },
    "signal": {
        *("SIGKILL", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGCHLD", "SIGSTOP", "SIGCONT"),
        *("alarm", "setitimer", "pause", "pthread_sigmask", "pthread_kill", "sigwait", "sigtimedwait", "sigpending"),
        *("SIG_BLOCK", "SIG_UNBLOCK", "siginterrupt", "sigwaitinfo", "getitimer", "SIGWINCH", "SIGTSTP", "SIGTTIN"),
        *("SIGTTOU", "SIGTRAP", "SIGBUS", "SIGURG", "SIGPROF", "SIGVTALRM"),
    },
    "socket": {"AF_UNIX", "AF_NETLINK", "SO_REUSEPORT", "TCP_NOTSENT_LOWAT", "TCP_USER_TIMEOUT", "TCP_INFO"}
    | {"send_fds", "recv_fds", "SCM_RIGHTS", "SO_PEERCRED", "SO_BINDTODEVICE", "SOCK_CLOEXEC", "SOCK_NONBLOCK"}
    | {"MSG_DONTWAIT", "MSG_NOSIGNAL", "TCP_CORK", "TCP_QUICKACK", "TCP_DEFER_ACCEPT", "TCP_LINGER2", "sethostname"},
    "select": {"poll", "epoll", "kqueue", "POLLIN", "POLLOUT", "POLLHUP", "POLLERR", "POLLNVAL", "EPOLLIN", "PIPE_BUF"},
    "mmap": {"MAP_SHARED", "MAP_PRIVATE", "MAP_ANONYMOUS", "PROT_READ", "PROT_WRITE"},
    "time": {"clock_gettime", "clock_getres", "clock_settime", "CLOCK_MONOTONIC", "CLOCK_BOOTTIME", "CLOCK_REALTIME"}
    | {"tzset", "pthread_getcpuclockid"},
    "ctypes": set(),
    "sys": set(),
}
OPENED = os.open


class View(types.ModuleType):
    """A module without what is hidden, with ``given`` in the place of its own."""

    def __init__(self, module: types.ModuleType, hidden: set[str], given: dict[str, Any]) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(given)
        self.__dict__["_seen"] = module, hidden

    def __getattr__(self, name: str) -> Any:
        module, hidden = self.__dict__["_seen"]
        if name in hidden:
            raise AttributeError(f"{module.__name__} has no {name} on Windows")
        return getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_seen"][0], name, value)


def opened(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
    if not isinstance(path, int) and os.path.isdir(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return OPENED(path, flags, mode, **more)


def library(name: Any, *arguments: Any, **more: Any) -> Any:
    import ctypes

    if name is None:
        raise TypeError("LoadLibrary() argument 1 must be str, not None")
    return ctypes.CDLL(name, *arguments, **more)


def given(name: str) -> dict[str, Any]:
    replaced: dict[str, dict[str, Any]] = {
        "os": {"name": "nt", "open": opened, "O_BINARY": 0},
        "sys": {"platform": "win32"},
        "ctypes": {"CDLL": library},
    }
    return replaced.get(name, {})


VIEWS: dict[str, View] = {}
IMPORT = builtins.__import__


def imported(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    importer = (globals or {}).get("__name__", "")
    if level or importer.split(".")[0] not in ("fluxport", "fluxport_emulator"):
        return IMPORT(name, globals, locals, fromlist, level)
    if name in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = IMPORT(name, globals, locals, fromlist, level)
    if name not in HIDDEN:
        return module
    if name not in VIEWS:
        VIEWS[name] = View(module, HIDDEN[name], given(name))
    return VIEWS[name]


def unmoved(do: Callable[..., Any]) -> Callable[..., Any]:
    """Like ``do``, but refuses a file that this process has open. Temporary files of Python's own are deleted by
    Windows when they are closed."""

    def checked(path: Any, *arguments: Any, **more: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if not more.get("dir_fd") and not isinstance(path, int) and caller != "tempfile":
            place = os.path.realpath(os.fspath(path))
            for descriptor in os.listdir("/proc/self/fd"):
                try:
                    here = os.readlink(f"/proc/self/fd/{descriptor}")
                except OSError:
                    continue
                if here == os.fsdecode(place):
                    raise PermissionError(errno.EACCES, "The process cannot access the file", path)
        return do(path, *arguments, **more)

    return checked


builtins.__import__ = imported
for action in ("unlink", "remove", "rename", "replace"):
    setattr(os, action, unmoved(getattr(os, action)))
