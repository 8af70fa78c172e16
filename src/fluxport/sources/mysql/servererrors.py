"""Maps the server's error numbers to the product's errors. The server's text goes to ``detail``, never to a message."""

from __future__ import annotations

from fluxport.errors import FluxportError, QueryFailed, TimedOut, Unavailable

# number -> (code, sentence) of permanent errors
_REJECTED: dict[int, tuple[str, str]] = {
    1044: ("login_refused", "The database account may not use this database"),
    1045: ("login_refused", "The database refused the login; check user and password"),
    1698: ("login_refused", "The database refused the login; check user and password"),
    1251: ("login_refused", "The database requires an authentication plugin that is not supported"),
    1524: ("login_refused", "The database does not have the account's authentication plugin"),
    1820: ("login_refused", "The database account's password has expired"),
    1862: ("login_refused", "The database account's password has expired"),
    3118: ("login_refused", "The database account is locked"),
    4151: ("login_refused", "The database account is locked"),
    1130: ("login_refused", "The database does not accept connections from this host"),
    3159: ("login_refused", "The database accepts only TLS connections from this account; set ssl-mode=required"),
    1049: ("unknown_database", "There is no such database"),
    1046: ("no_database", "No database is chosen; name one in the URL or before the table"),
    1146: ("unknown_table", "The query names a table that does not exist"),
    1051: ("unknown_table", "The query names a table that does not exist"),
    1109: ("unknown_table", "The query names a table that is not in its FROM clause"),
    1054: ("unknown_column", "The query names a column that does not exist"),
    1052: ("ambiguous_column", "The query names a column that several tables have; write table.column"),
    1305: ("unknown_function", "The query calls a function that does not exist"),
    1064: ("syntax_error", "The database cannot parse the query"),
    1149: ("syntax_error", "The database cannot parse the query"),
    1065: ("no_result_set", "The query is empty; an export takes a SELECT"),
    1142: ("permission_denied", "The database account may not read a table that the query names"),
    1143: ("permission_denied", "The database account may not read a column that the query names"),
    1227: ("permission_denied", "The database account lacks a privilege that the query needs"),
    1370: ("permission_denied", "The database account may not call a routine that the query names"),
    1792: ("read_only", "The statement would write; exports run in a read-only transaction"),
    1290: ("read_only", "The server's settings do not allow this statement"),
    1153: ("packet_too_large", "The query or its parameters are larger than the server's max_allowed_packet"),
    1055: ("not_in_group_by", "A selected column is not in GROUP BY, and the server's sql_mode forbids that"),
}
# number -> (code, sentence) of errors worth a retry
_TRANSIENT: dict[int, tuple[str, str]] = {
    1040: ("source_busy", "The database has too many connections"),
    1203: ("source_busy", "The database account has too many connections"),
    1226: ("source_busy", "The database account has used up one of its limits"),
    1461: ("source_busy", "The database has too many prepared statements"),
    1129: ("source_unreachable", "The database has blocked this host after many failed connections"),
    1053: ("source_lost", "The database is shutting down"),
    1077: ("source_lost", "The database is shutting down"),
    1079: ("source_lost", "The database is shutting down"),
    1158: ("source_lost", "The database lost the connection"),
    1159: ("source_lost", "The database lost the connection"),
    1160: ("source_lost", "The database lost the connection"),
    1161: ("source_lost", "The database timed out writing to this connection"),
    1317: ("source_lost", "The query was killed on the database"),
    1927: ("source_lost", "The connection was killed on the database"),
    3169: ("source_lost", "The connection was killed on the database"),
    4031: ("source_lost", "The database closed the connection as idle"),
    1205: ("source_locked", "The query waited too long for a lock"),
    1213: ("source_locked", "The query was aborted to resolve a deadlock"),
    1206: ("source_locked", "The query needs more locks than the database has"),
    1047: ("source_busy", "The database is not ready for queries"),
    1021: ("source_busy", "The database's disk is full"),
    1037: ("source_busy", "The database is out of memory"),
    1038: ("source_busy", "The database is out of memory for sorting"),
    1041: ("source_busy", "The database is out of memory"),
    1114: ("source_busy", "A temporary table of the database is full"),
    1412: ("source_changed", "A table of the query was altered while it ran"),
    1615: ("source_changed", "A table of the query was altered while it ran"),
    1969: ("deadline", "The database ended the query at its time limit; export fewer rows or raise the limit"),
    3024: ("deadline", "The database ended the query at its time limit; export fewer rows or raise the limit"),
}


class ServerError(Exception):
    """An error packet, used inside this package only: number, SQL state and the server's text."""

    def __init__(self, number: int, state: str, text: str) -> None:
        super().__init__(number)
        self.number = number
        self.state = state
        self.text = text

    def translated(self) -> FluxportError:
        """The error to raise; an unknown number is the statement's fault unless its SQL state says otherwise."""
        detail = f"{self.text} (error {self.number}, state {self.state})"
        if self.number in _TRANSIENT:
            code, sentence = _TRANSIENT[self.number]
            late = code == "deadline"
            family = TimedOut if late else Unavailable
            return family(f"{sentence} (error {self.number}).", code=code, detail=detail, again=not late)
        if self.state.startswith("08"):
            return Unavailable(
                f"The database lost the connection (error {self.number}).", code="source_lost", detail=detail
            )
        code, sentence = _REJECTED.get(self.number, ("query_failed", "The database rejected the query"))
        return QueryFailed(f"{sentence} (error {self.number}).", code=code, detail=detail)
