PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE exports (
	id VARCHAR(36) NOT NULL, 
	owner VARCHAR(128) NOT NULL, 
	door VARCHAR(16) NOT NULL, 
	stored BOOLEAN NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	phase VARCHAR(16), 
	spec JSON NOT NULL, 
	idempotency_key VARCHAR(255), 
	body_sha256 VARCHAR(64), 
	priority INTEGER NOT NULL, 
	counted BOOLEAN NOT NULL, 
	fence INTEGER NOT NULL, 
	rows BIGINT NOT NULL, 
	rows_total BIGINT, 
	bytes BIGINT NOT NULL, 
	result JSON, 
	attempts INTEGER NOT NULL, 
	attempt_errors JSON NOT NULL, 
	error JSON, 
	notify JSON NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	trace_id VARCHAR(32) NOT NULL, 
	address VARCHAR(64) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, 
	expires_at DOUBLE, 
	PRIMARY KEY (id), 
	UNIQUE (owner, idempotency_key)
);
CREATE TABLE events (
	export_id VARCHAR(36) NOT NULL, 
	seq INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	data JSON NOT NULL, 
	at DOUBLE NOT NULL, 
	PRIMARY KEY (export_id, seq)
);
CREATE TABLE pushes (
	export_id VARCHAR(36) NOT NULL, 
	held_until DOUBLE NOT NULL, 
	PRIMARY KEY (export_id)
);
CREATE TABLE used_links (
	token_sha256 VARCHAR(64) NOT NULL, 
	export_id VARCHAR(36) NOT NULL, 
	used_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	PRIMARY KEY (token_sha256)
);
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	owner VARCHAR(128) NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	export_id VARCHAR(36), 
	outcome VARCHAR(32) NOT NULL, 
	address VARCHAR(64) NOT NULL, 
	detail JSON NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE executors (
	id VARCHAR(64) NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE counters (
	name VARCHAR(64) NOT NULL, 
	labels TEXT NOT NULL, 
	value DOUBLE NOT NULL, 
	PRIMARY KEY (name, labels)
);
CREATE TABLE used_signatures (
	signature BLOB NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	PRIMARY KEY (signature)
);
CREATE TABLE keys (
	id VARCHAR(16) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	secret_sha256 VARCHAR(64) NOT NULL, 
	owner VARCHAR(128) NOT NULL, 
	scopes JSON NOT NULL, 
	active_max INTEGER, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE, 
	last_used_at DOUBLE, 
	revoked_at DOUBLE, 
	PRIMARY KEY (id)
);
CREATE TABLE users (
	name VARCHAR(128) NOT NULL, 
	password_hash VARCHAR(255) NOT NULL, 
	scopes JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE sessions (
	token_sha256 VARCHAR(64) NOT NULL, 
	owner VARCHAR(128) NOT NULL, 
	how VARCHAR(16) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	used_at DOUBLE NOT NULL, 
	PRIMARY KEY (token_sha256)
);
CREATE TABLE login_attempts (
	owner VARCHAR(128) NOT NULL, 
	address VARCHAR(64) NOT NULL, 
	pause_s DOUBLE NOT NULL, 
	next_at DOUBLE NOT NULL, 
	PRIMARY KEY (owner, address)
);
CREATE INDEX exports_by_status ON exports (status, expires_at);
CREATE INDEX exports_by_owner ON exports (owner, created_at);
CREATE INDEX ix_pushes_held_until ON pushes (held_until);
CREATE INDEX ix_used_links_export_id ON used_links (export_id);
CREATE INDEX ix_audit_owner ON audit (owner);
CREATE INDEX ix_audit_at ON audit (at);
CREATE INDEX ix_audit_export_id ON audit (export_id);
CREATE INDEX ix_used_signatures_expires_at ON used_signatures (expires_at);
CREATE UNIQUE INDEX keys_by_name ON keys (name) WHERE revoked_at IS NULL;
CREATE INDEX ix_keys_owner ON keys (owner);
CREATE INDEX ix_sessions_owner ON sessions (owner);
CREATE INDEX ix_login_attempts_next_at ON login_attempts (next_at);
COMMIT;
