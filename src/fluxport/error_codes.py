"""The registry of error codes: the families of :mod:`fluxport.errors` that each code belongs to, which decide its HTTP
and gRPC status, Flight error, exit code, and whether to retry.

A raised error has its family. A recorded one, or one from another service, has only its code and whether it is
retryable: :class:`Failure` is that form, and turns it back into the error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fluxport import errors
from fluxport.errors import FluxportError, Refused, Unavailable

_CODES: dict[str, str] = {
    "Broken": """
        broken broken_plugin database_unusable decimal_overflow emulator_failed file_changed file_differs guard_died
        internal number_overflow out_of_memory pages_not_built series_damaged series_shape service_died
        store_differs timestamp_overflow upgrade_failed workers_died
    """,
    "Canceled": """
        canceled client_gone
    """,
    "Conflict": """
        exists file_exists not_ready not_stored schedule_overlap wrong_state
    """,
    "Disabled": """
        disabled no_series not_served series_read_only
    """,
    "Forbidden": """
        bad_token cross_site missing_scope recipient_not_allowed
    """,
    "Gone": """
        file_expired gone link_expired link_used
    """,
    "LimitExceeded": """
        body_too_large cell_too_large cell_too_long limit_exceeded query_too_costly row_too_large sheet_full
        spool_too_small too_many_bytes too_many_points too_many_rows
    """,
    "NotFound": """
        no_such_dataset no_such_export no_such_file no_such_format no_such_key no_such_part no_such_sensor
        no_such_user not_found unknown_store
    """,
    "QueryFailed": """
        ambiguous_column ambiguous_type bad_params bad_value dataset_columns dataset_type local_infile login_refused
        missing_extension no_database no_read_only no_result_set not_in_group_by not_mysql packet_too_large
        permission_denied query_failed read_only several_results source_damaged syntax_error unknown_column
        unknown_database unknown_function unknown_schema unknown_table unstable_types
    """,
    "QueryRefused": """
        query_amplifier query_character query_clause query_comment query_empty query_function query_hint
        query_identifier query_into query_literal query_lock query_not_select query_placeholder query_recursive
        query_schema query_sequence query_stacked query_syntax query_table query_too_deep query_too_large
        query_unchecked query_variable
    """,
    "Refused": """
        account_not_read_only address_in_use ambiguous_column bad_batch bad_body bad_bucket bad_ca_file bad_compression
        bad_configuration bad_dsn bad_email bad_endpoint bad_event_id bad_file bad_filename bad_filter
        bad_idempotency_key bad_json bad_key bad_limit bad_link bad_message bad_metadata bad_name bad_notify bad_option
        bad_page bad_params bad_password bad_point bad_points bad_points_type bad_priority bad_proxy bad_query bad_range
        bad_recipient bad_reference bad_scope bad_sender bad_sensor bad_sort bad_source bad_status bad_target bad_text
        bad_tls_file bad_upload bad_url bad_webhook_secret batch_gap batch_too_large cannot_sign invalid_text mail_auth
        mail_refused mail_tls missing_extra missing_parameter no_bucket no_columns no_connection no_credentials
        no_database no_id no_metadata no_mqtt no_nats no_query no_result_set no_secret no_series no_tls not_listed
        not_loopback not_ready not_shared not_writable one_file_only other_version refused rows_missing schedule_missed
        ssh_denied store_denied store_refused too_many_columns too_many_sensors unencodable unknown_column
        unknown_compression unknown_connection unknown_dataset unknown_dialect unknown_filter unknown_format
        unknown_host unknown_key unknown_locale unknown_option unknown_profile unknown_store unknown_timezone
        unsupported_type upload_not_public upload_rejected weak_secret webhook_not_public webhook_redirect wrong_region
        wrong_type wrong_width
    """,
    "StoreFull": """
        series_full store_full
    """,
    "TimedOut": """
        deadline queue_timeout stream_idle
    """,
    "TooMany": """
        connection_busy ingest_busy queue_full too_many too_many_active too_many_logins too_many_requests
    """,
    "Unauthorized": """
        replayed unauthorized wrong_password
    """,
    "Unavailable": """
        busy cannot_sign client_slow client_stalled clock_differs closing database_away file_unread holder_died
        in_progress mail_unavailable no_credentials no_worker output_failed queue_full replay_store_unavailable
        series_away source_broken source_busy source_changed source_locked source_lost source_timeout source_unreachable
        spool_failed spool_full ssh_unreachable store_differs store_failed store_unreachable sweep_failed tls_untrusted
        unavailable unreachable upload_rejected upload_timeout upload_tls upload_unreachable upload_unresolved
        webhook_rejected webhook_timeout webhook_tls webhook_unreachable webhook_unresolved worker_lost worker_stopped
    """,
    "Unprocessable": """
        idempotency_mismatch
    """,
    "WarningsFound": """
        warnings_found
    """,
}


def _families() -> dict[str, tuple[type[FluxportError], ...]]:
    families: dict[str, tuple[type[FluxportError], ...]] = {}
    for name, codes in _CODES.items():
        for code in codes.split():
            families[code] = (*families.get(code, ()), getattr(errors, name))
    return families


# By code, in alphabetical order of the families. A code of several families means the same in each; at most one of them
# is retryable.
FAMILIES = _families()


def family_of(code: str, *, retryable: bool) -> type[FluxportError]:
    """The family of an error with this code. An unregistered code, such as a plug-in's, is Unavailable if
    ``retryable``, else Refused."""
    known = FAMILIES.get(code, ())
    return next((f for f in known if f.retryable == retryable), Unavailable if retryable else Refused)


@dataclass(frozen=True)
class Failure:
    """An error in the form that is stored and sent in responses."""

    code: str
    message: str
    retryable: bool = False

    @classmethod
    def of(cls, error: FluxportError) -> Failure:
        return cls(error.code, error.message, error.retryable)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Failure:
        return cls(str(value["code"]), str(value["message"]), bool(value["retryable"]))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def error(self) -> FluxportError:
        """The recorded error, as an exception."""
        return family_of(self.code, retryable=self.retryable)(self.message, code=self.code)
