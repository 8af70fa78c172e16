SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.audit (
    id integer NOT NULL,
    at double precision NOT NULL,
    owner character varying(128) NOT NULL,
    action character varying(32) NOT NULL,
    export_id character varying(36),
    outcome character varying(32) NOT NULL,
    address character varying(64) NOT NULL,
    detail json NOT NULL
);
CREATE SEQUENCE public.audit_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.audit_id_seq OWNED BY public.audit.id;
CREATE TABLE public.counters (
    name character varying(64) NOT NULL,
    labels text NOT NULL,
    value double precision NOT NULL
);
CREATE TABLE public.events (
    export_id character varying(36) NOT NULL,
    seq integer NOT NULL,
    kind character varying(16) NOT NULL,
    data json NOT NULL,
    at double precision NOT NULL
);
CREATE TABLE public.executors (
    id character varying(64) NOT NULL,
    seen_at double precision NOT NULL
);
CREATE TABLE public.exports (
    id character varying(36) NOT NULL,
    owner character varying(128) NOT NULL,
    door character varying(16) NOT NULL,
    scope character varying(128) NOT NULL,
    key_id character varying(64),
    stored boolean NOT NULL,
    status character varying(16) NOT NULL,
    phase character varying(16),
    spec json NOT NULL,
    idempotency_key character varying(255),
    body_sha256 character varying(64),
    priority integer NOT NULL,
    counted boolean NOT NULL,
    fence integer NOT NULL,
    rows bigint NOT NULL,
    rows_total bigint,
    bytes bigint NOT NULL,
    result json,
    attempts integer NOT NULL,
    attempt_errors json NOT NULL,
    error json,
    notify json NOT NULL,
    request_id character varying(64) NOT NULL,
    trace_id character varying(32) NOT NULL,
    address character varying(64) NOT NULL,
    created_at double precision NOT NULL,
    started_at double precision,
    finished_at double precision,
    expires_at double precision
);
CREATE TABLE public.keys (
    id character varying(16) NOT NULL,
    name character varying(128) NOT NULL,
    secret_sha256 character varying(64) NOT NULL,
    owner character varying(128) NOT NULL,
    scopes json NOT NULL,
    active_max integer,
    own_results boolean NOT NULL,
    mail_domains json,
    created_at double precision NOT NULL,
    expires_at double precision,
    last_used_at double precision,
    revoked_at double precision
);
CREATE TABLE public.login_attempts (
    owner character varying(128) NOT NULL,
    address character varying(64) NOT NULL,
    pause_s double precision NOT NULL,
    next_at double precision NOT NULL
);
CREATE TABLE public.probes (
    id integer NOT NULL,
    at double precision NOT NULL,
    filling text NOT NULL
);
CREATE TABLE public.pushes (
    export_id character varying(36) NOT NULL,
    held_until double precision NOT NULL
);
CREATE TABLE public.queue (
    export_id character varying(36) NOT NULL,
    connection character varying(255) NOT NULL,
    owner character varying(128) NOT NULL,
    priority integer NOT NULL,
    asked_at double precision NOT NULL,
    due_at double precision NOT NULL,
    worker character varying(64)
);
CREATE TABLE public.schedules (
    name character varying(255) NOT NULL,
    definition text NOT NULL,
    looked_at double precision NOT NULL
);
CREATE TABLE public.sessions (
    token_sha256 character varying(64) NOT NULL,
    owner character varying(128) NOT NULL,
    how character varying(16) NOT NULL,
    created_at double precision NOT NULL,
    used_at double precision NOT NULL
);
CREATE TABLE public.tells (
    export_id character varying(36) NOT NULL,
    target character varying(32) NOT NULL,
    tries integer NOT NULL,
    due_at double precision NOT NULL,
    worker character varying(64)
);
CREATE TABLE public.used_links (
    token_sha256 character varying(64) NOT NULL,
    export_id character varying(36) NOT NULL,
    used_at double precision NOT NULL,
    expires_at double precision NOT NULL
);
CREATE TABLE public.used_signatures (
    signature bytea NOT NULL,
    expires_at double precision NOT NULL
);
CREATE TABLE public.users (
    name character varying(128) NOT NULL,
    password_hash character varying(255) NOT NULL,
    scopes json NOT NULL,
    created_at double precision NOT NULL
);
ALTER TABLE ONLY public.audit ALTER COLUMN id SET DEFAULT nextval('public.audit_id_seq'::regclass);
INSERT INTO public.audit VALUES (1, 1795998323.9816315, 'default', 'export', 'fa7f79f8-d05f-4ca8-8ccf-94803c7e3b0a', 'completed', '127.0.0.1', '{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": "local", "columns": ["id", "name"], "rows": 5, "bytes": 48, "error_code": null}');
INSERT INTO public.audit VALUES (2, 1795998324.1515813, 'default', 'export', '4943dc7a-321a-4d39-b98f-6796bf3c1147', 'begun', '127.0.0.1', '{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": null, "columns": [], "rows": 0, "bytes": 0, "error_code": null}');
INSERT INTO public.audit VALUES (3, 1795998324.3153594, 'default', 'export', '4943dc7a-321a-4d39-b98f-6796bf3c1147', 'completed', '127.0.0.1', '{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": null, "columns": ["id", "name"], "rows": 5, "bytes": 48, "error_code": null, "sent_bytes": 8}');
INSERT INTO public.audit VALUES (4, 1750000000, 'default', 'export', '594a1bd8-2cd5-4ae4-a0a9-4eefe9c63918', 'failed', '192.0.2.1', '{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": "local", "columns": [], "rows": 0, "bytes": 0, "error_code": "failed"}');
INSERT INTO public.audit VALUES (5, 1750000000, 'default', 'export', '4c2c201e-299c-44ea-8ee7-63f0ff266d83', 'canceled', '192.0.2.1', '{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": "local", "columns": [], "rows": 0, "bytes": 0, "error_code": "canceled"}');
INSERT INTO public.audit VALUES (6, 1750000000, 'default', 'export', '1420462d-3cf0-4245-817e-113e36bd115c', 'completed', '192.0.2.1', '{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": "local", "columns": ["id", "name"], "rows": 5, "bytes": 0, "error_code": null}');
INSERT INTO public.audit VALUES (7, 1750000000, 'default', 'export', '00000000-0000-4000-8000-000000000001', 'begun', '192.0.2.1', '{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": null, "columns": [], "rows": 0, "bytes": 0, "error_code": null}');
INSERT INTO public.audit VALUES (8, 1750000000, 'ann', 'login', NULL, 'refused', '192.0.2.1', '{}');
INSERT INTO public.counters VALUES ('export_duration_seconds_bucket', '{"le": "2.5"}', 1);
INSERT INTO public.counters VALUES ('export_duration_seconds_bucket', '{"le": "0.25"}', 1);
INSERT INTO public.counters VALUES ('fluxport_rows_per_second_bucket', '{"format": "csv", "le": "1000.0", "source": "main"}', 2);
INSERT INTO public.counters VALUES ('fluxport_rows_per_second_sum', '{"format": "csv", "source": "main"}', 37.5848627198127);
INSERT INTO public.counters VALUES ('export_errors_total', '{"code": "failed"}', 1);
INSERT INTO public.counters VALUES ('export_duration_seconds_bucket', '{"le": "0.05"}', 2);
INSERT INTO public.counters VALUES ('export_duration_seconds_sum', '{}', 1.948357343673706);
INSERT INTO public.counters VALUES ('export_records_processed_total', '{}', 15);
INSERT INTO public.counters VALUES ('export_upload_duration_seconds_bucket', '{"le": "0.05"}', 2);
INSERT INTO public.counters VALUES ('export_upload_duration_seconds_sum', '{}', 0.006);
INSERT INTO public.counters VALUES ('fluxport_bytes_total', '{}', 96);
INSERT INTO public.events VALUES ('fa7f79f8-d05f-4ca8-8ccf-94803c7e3b0a', 1, 'progress', '{"phase": "reading", "rows": 0, "bytes": 0}', 1795998323.7177289);
INSERT INTO public.events VALUES ('fa7f79f8-d05f-4ca8-8ccf-94803c7e3b0a', 2, 'completed', '{"status": "completed", "error": null}', 1795998323.9792278);
INSERT INTO public.events VALUES ('4943dc7a-321a-4d39-b98f-6796bf3c1147', 1, 'completed', '{"status": "completed", "error": null}', 1795998324.3107839);
INSERT INTO public.events VALUES ('992b1f45-1729-4e75-9002-e35a0e3cf09c', 1, 'progress', '{"phase": "reading", "rows": 2, "bytes": 100}', 1750000000);
INSERT INTO public.events VALUES ('594a1bd8-2cd5-4ae4-a0a9-4eefe9c63918', 1, 'failed', '{"status": "failed", "error": {"code": "failed", "message": "It ended as failed.", "retryable": false}}', 1750000000);
INSERT INTO public.events VALUES ('4c2c201e-299c-44ea-8ee7-63f0ff266d83', 1, 'canceled', '{"status": "canceled", "error": {"code": "canceled", "message": "It ended as canceled.", "retryable": false}}', 1750000000);
INSERT INTO public.executors VALUES ('a worker that is gone', 1750000000);
INSERT INTO public.exports VALUES ('0f119862-9d43-4826-ae5c-2fc527db3afc', 'default', 'native', 'sql:main', 'default', true, 'queued', NULL, '{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}', 'queued', '0000000000000000000000000000000000000000000000000000000000000000', 2, false, 0, 0, NULL, 0, NULL, 0, '[]', NULL, '{"webhook": "@WEBHOOK@"}', 'r1', '', '192.0.2.1', 1750000000, NULL, NULL, NULL);
INSERT INTO public.exports VALUES ('4943dc7a-321a-4d39-b98f-6796bf3c1147', 'default', 'native', 'sql:main', 'default', false, 'completed', NULL, '{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}', NULL, NULL, 2, false, 1, 5, 5, 48, '{"filename": "export-2026-11-30-002524.csv", "media_type": "text/csv; charset=utf-8", "sha256": "537feea7d3a1068522de824cf38b91988b22e72d24a4c46098e37dc16216ce5f", "rows": 5, "bytes": 48, "truncated": false, "columns": [{"name": "id", "type": "bigint"}, {"name": "name", "type": "varchar(255)"}], "warnings": []}', 1, '[]', NULL, '{}', 'c62bbab0eada4b67984e337e979e2c03', '', '127.0.0.1', 1795998324.1437795, 1795998324.1437795, 1795998324.2873983, NULL);
INSERT INTO public.exports VALUES ('992b1f45-1729-4e75-9002-e35a0e3cf09c', 'default', 'native', 'sql:main', 'default', true, 'running', 'reading', '{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}', 'running', '0000000000000000000000000000000000000000000000000000000000000000', 2, false, 1, 2, NULL, 100, NULL, 1, '[]', NULL, '{}', 'r1', '', '192.0.2.1', 1750000000, 1750000000, NULL, NULL);
INSERT INTO public.exports VALUES ('5fb9cdc8-eb10-4f7c-b5b7-8d41a2fc3a3a', 'default', 'native', 'sql:main', 'default', true, 'queued', 'planning', '{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}', 'waits for its next attempt', '0000000000000000000000000000000000000000000000000000000000000000', 2, false, 1, 0, NULL, 0, NULL, 1, '[{"code": "source_unavailable", "message": "It was away.", "retryable": true, "at": 1750000000.0}]', NULL, '{}', 'r1', '', '192.0.2.1', 1750000000, 1750000000, NULL, NULL);
INSERT INTO public.exports VALUES ('594a1bd8-2cd5-4ae4-a0a9-4eefe9c63918', 'default', 'native', 'sql:main', 'default', true, 'failed', NULL, '{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}', 'failed', '0000000000000000000000000000000000000000000000000000000000000000', 2, false, 0, 0, NULL, 0, NULL, 0, '[]', '{"code": "failed", "message": "It ended as failed.", "retryable": false}', '{"webhook": "@WEBHOOK@"}', 'r1', '', '192.0.2.1', 1750000000, NULL, 1750000000, NULL);
INSERT INTO public.exports VALUES ('4c2c201e-299c-44ea-8ee7-63f0ff266d83', 'default', 'native', 'sql:main', 'default', true, 'canceled', NULL, '{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}', 'canceled', '0000000000000000000000000000000000000000000000000000000000000000', 2, false, 0, 0, NULL, 0, NULL, 0, '[]', '{"code": "canceled", "message": "It ended as canceled.", "retryable": false}', '{"webhook": "@WEBHOOK@"}', 'r1', '', '192.0.2.1', 1750000000, NULL, 1750000000, NULL);
INSERT INTO public.exports VALUES ('1420462d-3cf0-4245-817e-113e36bd115c', 'default', 'native', 'sql:main', 'default', true, 'expired', NULL, '{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}', 'expired', '0000000000000000000000000000000000000000000000000000000000000000', 2, false, 1, 5, NULL, 0, '{"filename": "export-2026-11-30-002523.csv", "media_type": "text/csv; charset=utf-8", "sha256": "537feea7d3a1068522de824cf38b91988b22e72d24a4c46098e37dc16216ce5f", "rows": 5, "bytes": 48, "truncated": false, "columns": [{"name": "id", "type": "bigint"}, {"name": "name", "type": "varchar(255)"}], "warnings": [], "location": "@FOLDER@/exports/fa7f79f8-d05f-4ca8-8ccf-94803c7e3b0a.csv", "verified": "size", "upload_s": 0.003}', 1, '[]', NULL, '{}', 'r1', '', '192.0.2.1', 1750000000, 1750000000, 1750000000, 1749999999);
INSERT INTO public.exports VALUES ('fa7f79f8-d05f-4ca8-8ccf-94803c7e3b0a', 'default', 'native', 'sql:main', 'default', true, 'completed', NULL, '{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}', 'completed', 'cc8bc76c7bb2f5fb14448d1918e551f164c430517c155ca6696559c6e1b3d830', 2, false, 1, 5, 5, 48, '{"filename": "export-2026-11-30-002523.csv", "media_type": "text/csv; charset=utf-8", "sha256": "537feea7d3a1068522de824cf38b91988b22e72d24a4c46098e37dc16216ce5f", "rows": 5, "bytes": 48, "truncated": false, "columns": [{"name": "id", "type": "bigint"}, {"name": "name", "type": "varchar(255)"}], "warnings": [], "location": "@FOLDER@/exports/fa7f79f8-d05f-4ca8-8ccf-94803c7e3b0a.csv", "verified": "size", "upload_s": 0.003}', 1, '[]', NULL, '{}', '6670c373c27d4cdea9f9fb0baa8cc278', '', '127.0.0.1', 1795998319.0691876, 1795998322.1649535, 1795998323.969692, 4000000000);
INSERT INTO public.exports VALUES ('c3c28ed3-41b4-4c63-b51c-cd780387c2ac', 'default', 'grpc', 'push', 'default', true, 'queued', NULL, '{"query": "", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": [{"name": "n", "type": "bigint"}]}', 'pushed', '0000000000000000000000000000000000000000000000000000000000000000', 2, false, 0, 0, NULL, 0, NULL, 0, '[]', NULL, '{}', 'r1', '', '192.0.2.1', 1750000000, NULL, NULL, NULL);
INSERT INTO public.exports VALUES ('00000000-0000-4000-8000-000000000001', 'default', 'native', 'sql:main', 'default', false, 'running', 'reading', '{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}', NULL, NULL, 2, false, 1, 0, NULL, 0, NULL, 1, '[]', NULL, '{}', 'r1', '', '192.0.2.1', 1750000000, 1750000000, NULL, NULL);
INSERT INTO public.keys VALUES ('b4d2src6h4gt', 'old', '13537888aa2decad07a7cc5c8174494cebfa75f95e2dae40afbfbbd68120f5b4', 'ann', '["sql:main"]', NULL, false, NULL, 1750000000, 1750000060, NULL, 1750000000);
INSERT INTO public.keys VALUES ('abcdefghijkl', 'nightly', 'bc4232575d92a13bd44898a34c399bc2398b5b32081c8f7ac01cd997d3dcba5b', 'ann', '["sql:main"]', NULL, false, '["example.com"]', 1750000000, NULL, NULL, NULL);
INSERT INTO public.login_attempts VALUES ('ann', '*', 0.0009765625, 4000000000);
INSERT INTO public.login_attempts VALUES ('*', '192.0.2.1', 0.0009765625, 4000000000);
INSERT INTO public.login_attempts VALUES ('ann', '192.0.2.1', 0.0625, 4000000000.0625);
INSERT INTO public.probes VALUES (1, 1750000000, 'd1c973e4d074abeed8ccba8622a8de57c181f33953204898a62cd179ec6e0b40c8eda6b7595c08aaadcf69161a328695a7a317016c18c959ea5d7851fbb405888185a1a2f70058652f2f3c8844e65e2a7583abebcbeaca83d962cfcf7c5da0e7a9a7fc30562b276b523ce297337b1b4ade9ee33edd254b58e49069ac5740ccef752c7113e448523870ed10e71efff71773b057a4a7b6f3ed1603773a953e4c1dfe0d03cef3a1f0d192cccfa4c83843b54b96abe4dc5aa5006e2ee1519edc40a49f954517087c2d974017e6b5d8297535f2f635f557ce096011b982a5df395948642257492479528ef5f86ac472e527c55e2e10c81e7a6d88207972863a59e69d115f2b00e3236386fbca5c30cd1a47521b363dc031efcfe859c2a74646c4a01d2e7b4cf308c08726af2cb715f7c91ae578e42d94043a3e5fdf5a88a6956c0dfc05547d7d7081538514a020f6df4f91e22b549bc3ad20e705dae005a1cbaa4d5489c5c90d3d41e985c8e55df426dd4c5ab1beaa4151718151f7533c253a724471c1058239f8d50f44f6fc3ca1106881e02dc0e5a6b0eb9637951277543d373d0e529e4dbba9ea25bfb64f5713c28cfd757205c2ab3a9323b4b5c2561a2bad1839d31beaaf49cc53c79c083bbdf00a618cc90c355ae5f4bb165b9666ae40acbd4e5884df1d3963a1b7896821e393267df7d9b005ccfde22b4f9bf18acada208acd');
INSERT INTO public.pushes VALUES ('c3c28ed3-41b4-4c63-b51c-cd780387c2ac', 1750000000);
INSERT INTO public.queue VALUES ('992b1f45-1729-4e75-9002-e35a0e3cf09c', 'main', 'default', 2, 1750000000, 0, 'a worker that is gone');
INSERT INTO public.queue VALUES ('5fb9cdc8-eb10-4f7c-b5b7-8d41a2fc3a3a', 'main', 'default', 2, 1750000000, 1750000000, NULL);
INSERT INTO public.queue VALUES ('0f119862-9d43-4826-ae5c-2fc527db3afc', 'main', 'default', 2, 1750000000, 0, NULL);
INSERT INTO public.schedules VALUES ('nightly', '0 3 * * * UTC', 1795998322.137896);
INSERT INTO public.sessions VALUES ('b0679324228c35931acdfa8a487f94873c05094138a477994a5bdba6d6c24a56', 'ann', 'password', 4000000000, 4000000000);
INSERT INTO public.tells VALUES ('594a1bd8-2cd5-4ae4-a0a9-4eefe9c63918', 'webhook:0', 0, 0, NULL);
INSERT INTO public.tells VALUES ('4c2c201e-299c-44ea-8ee7-63f0ff266d83', 'webhook:0', 0, 0, NULL);
INSERT INTO public.used_links VALUES ('f839161355091fcd9e33f571e0b11c60217a5009f9973e769c13d7858db162cc', 'fa7f79f8-d05f-4ca8-8ccf-94803c7e3b0a', 1750000000, 4000000000);
INSERT INTO public.used_signatures VALUES ('\x8d2781b3b0b13abbd8f49e12a0a1290c8038478db6d7d791f23b0ddf7eb556de', 1795999219.0065637);
INSERT INTO public.used_signatures VALUES ('\x4a7f98ecc5005477cf90e8362f73924c6a40f48be2e52b87d246ecd791ddfb8c', 1795999219.2577972);
INSERT INTO public.used_signatures VALUES ('\xa6399dc2f66f5e5e6432ebb912fd62148b14c0f65496b1620779dff372336c75', 1795999219.4942987);
INSERT INTO public.used_signatures VALUES ('\x7d44e8cc9e5c16315dd27aa8e407bae2f8f9063c9607f201f4e47fedfa3602ee', 1795999219.6915445);
INSERT INTO public.used_signatures VALUES ('\xe5bdab23b2bf0fa68c4952c0267d5b999e15a6a52c9339413fbe9f97e2f0d11e', 1795999219.9183438);
INSERT INTO public.used_signatures VALUES ('\xd87423df1c838ffd09ef0c171ae16eac420dcd9652e9638dab77b3b98a0b8c99', 1795999220.1158912);
INSERT INTO public.used_signatures VALUES ('\x9a40633ef55c52cdf9035faf5fa67bcffb617efb179bddb3d074fbd295b77cbb', 1795999220.3196213);
INSERT INTO public.used_signatures VALUES ('\x6bc2fe9fab16a6be9c09cd00087f6c6eac7e6ca18f8faaf2f87fb3586c70485e', 1795999220.5311806);
INSERT INTO public.used_signatures VALUES ('\xe35f5dd54e13b9e515c9bb7f3294885dac14f812744deacbed51c4a2a05cb437', 1795999220.7220457);
INSERT INTO public.used_signatures VALUES ('\x3417f5c6e00736cd345533b71a668d0e63105b158add3aa764fdbb38a4a4ee37', 1795999220.9583225);
INSERT INTO public.used_signatures VALUES ('\x2b1e9426761dd19298dc9aa56c369992bc3bca3114af0b010dc58ce156501abf', 1795999221.1283073);
INSERT INTO public.used_signatures VALUES ('\xb37f39c3479557a265911f9f032f32802a433d62057cfe33463a6a5d54b41e7e', 1795999221.3827844);
INSERT INTO public.used_signatures VALUES ('\xa6c26da2162c5ff3b22e63432ce9054b38e7e423291cd8f2d1ccaf42b99b29bf', 1795999221.5463214);
INSERT INTO public.used_signatures VALUES ('\xd5b1e370dfb1835d474332ec75451bc15220af09c6a2488076b26d07ec9ab90a', 1795999221.7590609);
INSERT INTO public.used_signatures VALUES ('\x9c5f4179b35126327c0456de1b5909b099140187ecc30d0650938e5e19d6f22a', 1795999221.9559312);
INSERT INTO public.used_signatures VALUES ('\x03c382e62628065d3ea9e47c45099a7c9d0206a91ba5271c28b36fd4310f1038', 1795999222.113333);
INSERT INTO public.used_signatures VALUES ('\x70dab5ed56040434f81d2edae62543bc0beac9a8ed8167c40040fee4c6202651', 1795999222.2783391);
INSERT INTO public.used_signatures VALUES ('\x5df0cc98fed6eee66ed521dd54eb64abb95ac3a8950ea86fa42fb53614c6139f', 1795999222.5022833);
INSERT INTO public.used_signatures VALUES ('\xe18b15ce3433f0e099fee9a3f94051384917dbba1fb96d42d9126411edc21af4', 1795999222.70632);
INSERT INTO public.used_signatures VALUES ('\xd42d3c546348c8613f443a4d30ef03a3e96da71bbfb2888c124f318b08c3f672', 1795999222.8646727);
INSERT INTO public.used_signatures VALUES ('\x7110ffe8cf850ce51667e3db94d2313c4e00656197f1eb99a638c9cfbb275de0', 1795999223.0822835);
INSERT INTO public.used_signatures VALUES ('\x7d5e8f6543a0cba2daa8708cad33ac22f974d2a1f41e745dbef942d03604a511', 1795999223.2902727);
INSERT INTO public.used_signatures VALUES ('\x719c6b67d2d19b9c88ba1a36b4e816e1e4f96b98060a5f8d9e225f6323edb0d1', 1795999223.4660556);
INSERT INTO public.used_signatures VALUES ('\x235e7834a59cbe01d6437b03602106e8680be4db08243599ca4bc7b019d15b67', 1795999223.825249);
INSERT INTO public.used_signatures VALUES ('\x90880df21aeb2d0bfd78975204c604b35dfe0c475f49ff37a64be526171dbba2', 1795999224.0702581);
INSERT INTO public.used_signatures VALUES ('\x24b2a1dec6a211dd79e8f22eb50a2128b489c06f38fb8155ee08b749f72e1906', 1795999224.1422617);
INSERT INTO public.used_signatures VALUES ('\x0000000000000000000000000000000000000000000000000000000000000000', 1750000900);
INSERT INTO public.users VALUES ('ann', '$argon2id$v=19$m=19456,t=2,p=1$/d41jKs7oLXNV73avnF/UA$rmm83bqXt+Hf95X7btRDa1sTYki55mwrvPqfg0YgsbU', '["sql:*"]', 1750000000);
SELECT pg_catalog.setval('public.audit_id_seq', 8, true);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.counters
    ADD CONSTRAINT counters_pkey PRIMARY KEY (name, labels);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (export_id, seq);
ALTER TABLE ONLY public.executors
    ADD CONSTRAINT executors_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.exports
    ADD CONSTRAINT exports_owner_idempotency_key_key UNIQUE (owner, idempotency_key);
ALTER TABLE ONLY public.exports
    ADD CONSTRAINT exports_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.login_attempts
    ADD CONSTRAINT login_attempts_pkey PRIMARY KEY (owner, address);
ALTER TABLE ONLY public.probes
    ADD CONSTRAINT probes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.pushes
    ADD CONSTRAINT pushes_pkey PRIMARY KEY (export_id);
ALTER TABLE ONLY public.queue
    ADD CONSTRAINT queue_pkey PRIMARY KEY (export_id);
ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT schedules_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (token_sha256);
ALTER TABLE ONLY public.tells
    ADD CONSTRAINT tells_pkey PRIMARY KEY (export_id, target);
ALTER TABLE ONLY public.used_links
    ADD CONSTRAINT used_links_pkey PRIMARY KEY (token_sha256);
ALTER TABLE ONLY public.used_signatures
    ADD CONSTRAINT used_signatures_pkey PRIMARY KEY (signature);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (name);
CREATE INDEX exports_by_owner ON public.exports USING btree (owner, created_at);
CREATE INDEX exports_by_status ON public.exports USING btree (status, expires_at);
CREATE INDEX ix_audit_at ON public.audit USING btree (at);
CREATE INDEX ix_audit_export_id ON public.audit USING btree (export_id);
CREATE INDEX ix_audit_owner ON public.audit USING btree (owner);
CREATE INDEX ix_keys_owner ON public.keys USING btree (owner);
CREATE INDEX ix_login_attempts_next_at ON public.login_attempts USING btree (next_at);
CREATE INDEX ix_pushes_held_until ON public.pushes USING btree (held_until);
CREATE INDEX ix_sessions_owner ON public.sessions USING btree (owner);
CREATE INDEX ix_used_links_export_id ON public.used_links USING btree (export_id);
CREATE INDEX ix_used_signatures_expires_at ON public.used_signatures USING btree (expires_at);
CREATE UNIQUE INDEX keys_by_name ON public.keys USING btree (name) WHERE (revoked_at IS NULL);
CREATE INDEX queue_by_connection ON public.queue USING btree (connection, owner, worker);
CREATE INDEX queue_by_worker ON public.queue USING btree (worker, due_at);
CREATE INDEX tells_by_worker ON public.tells USING btree (worker, due_at);
