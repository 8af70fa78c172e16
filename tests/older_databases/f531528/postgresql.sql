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
CREATE TABLE public.pushes (
    export_id character varying(36) NOT NULL,
    held_until double precision NOT NULL
);
CREATE TABLE public.sessions (
    token_sha256 character varying(64) NOT NULL,
    owner character varying(128) NOT NULL,
    how character varying(16) NOT NULL,
    created_at double precision NOT NULL,
    used_at double precision NOT NULL
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
SELECT pg_catalog.setval('public.audit_id_seq', 1, false);
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
ALTER TABLE ONLY public.pushes
    ADD CONSTRAINT pushes_pkey PRIMARY KEY (export_id);
ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (token_sha256);
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
