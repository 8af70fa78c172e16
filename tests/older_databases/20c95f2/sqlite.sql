PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE exports (
	id VARCHAR(36) NOT NULL, 
	owner VARCHAR(128) NOT NULL, 
	door VARCHAR(16) NOT NULL, 
	scope VARCHAR(128) NOT NULL, 
	key_id VARCHAR(64), 
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
INSERT INTO exports VALUES('abf3b2b0-5a83-49e9-8c2b-d575fe895661','default','native','sql:main','default',1,'completed',NULL,'{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}','completed','cc8bc76c7bb2f5fb14448d1918e551f164c430517c155ca6696559c6e1b3d830',2,0,1,5,5,48,'{"filename": "export-2026-11-30-002510.csv", "media_type": "text/csv; charset=utf-8", "sha256": "537feea7d3a1068522de824cf38b91988b22e72d24a4c46098e37dc16216ce5f", "rows": 5, "bytes": 48, "truncated": false, "columns": [{"name": "id", "type": "bigint"}, {"name": "name", "type": "varchar(255)"}], "warnings": [], "location": "@FOLDER@/exports/abf3b2b0-5a83-49e9-8c2b-d575fe895661.csv", "verified": "size", "upload_s": 0.001}',1,'[]',NULL,'{}','1d0bdb852eed44a58f9136855219d46b','','127.0.0.1',1795998307.7668557167,1795998309.7673790455,1795998310.5817565918,4000000000.0);
INSERT INTO exports VALUES('d9f0643c-b435-43df-be97-8ba502412b8a','default','native','sql:main','default',0,'completed',NULL,'{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}',NULL,NULL,2,0,1,5,5,48,'{"filename": "export-2026-11-30-002510.csv", "media_type": "text/csv; charset=utf-8", "sha256": "537feea7d3a1068522de824cf38b91988b22e72d24a4c46098e37dc16216ce5f", "rows": 5, "bytes": 48, "truncated": false, "columns": [{"name": "id", "type": "bigint"}, {"name": "name", "type": "varchar(255)"}], "warnings": []}',1,'[]',NULL,'{}','7e7ce786c8b1446cb8948b89cc562f49','','127.0.0.1',1795998310.7739870548,1795998310.7739870548,1795998310.841030836,NULL);
INSERT INTO exports VALUES('697b2e2a-593e-4e19-a29e-831b0c4c40de','default','native','sql:main','default',1,'running','reading','{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}','running','0000000000000000000000000000000000000000000000000000000000000000',2,0,1,2,NULL,100,NULL,1,'[]',NULL,'{}','r1','','192.0.2.1',1750000000.0,1750000000.0,NULL,NULL);
INSERT INTO exports VALUES('30855868-1e8b-46f1-802b-fb9fb0bd8af2','default','native','sql:main','default',1,'queued','planning','{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}','waits for its next attempt','0000000000000000000000000000000000000000000000000000000000000000',2,0,1,0,NULL,0,NULL,1,'[{"code": "source_unavailable", "message": "It was away.", "retryable": true, "at": 1750000000.0}]',NULL,'{}','r1','','192.0.2.1',1750000000.0,1750000000.0,NULL,NULL);
INSERT INTO exports VALUES('3a4ef45d-ee7d-4b8b-95c9-475d6e75e2b5','default','native','sql:main','default',1,'queued',NULL,'{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}','queued','0000000000000000000000000000000000000000000000000000000000000000',2,0,0,0,NULL,0,NULL,0,'[]',NULL,'{"webhook": "@WEBHOOK@"}','r1','','192.0.2.1',1750000000.0,NULL,NULL,NULL);
INSERT INTO exports VALUES('7eaa5a03-9d3f-47ff-be00-8792598b5381','default','native','sql:main','default',1,'failed',NULL,'{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}','failed','0000000000000000000000000000000000000000000000000000000000000000',2,0,0,0,NULL,0,NULL,0,'[]','{"code": "failed", "message": "It ended as failed.", "retryable": false}','{"webhook": "@WEBHOOK@"}','r1','','192.0.2.1',1750000000.0,NULL,1750000000.0,NULL);
INSERT INTO exports VALUES('ad0d2576-5be7-420f-9a54-6e35a6999a89','default','native','sql:main','default',1,'canceled',NULL,'{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}','canceled','0000000000000000000000000000000000000000000000000000000000000000',2,0,0,0,NULL,0,NULL,0,'[]','{"code": "canceled", "message": "It ended as canceled.", "retryable": false}','{"webhook": "@WEBHOOK@"}','r1','','192.0.2.1',1750000000.0,NULL,1750000000.0,NULL);
INSERT INTO exports VALUES('e8673960-5569-487f-9028-13f371b06b36','default','native','sql:main','default',1,'expired',NULL,'{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}','expired','0000000000000000000000000000000000000000000000000000000000000000',2,0,1,5,NULL,0,'{"filename": "export-2026-11-30-002510.csv", "media_type": "text/csv; charset=utf-8", "sha256": "537feea7d3a1068522de824cf38b91988b22e72d24a4c46098e37dc16216ce5f", "rows": 5, "bytes": 48, "truncated": false, "columns": [{"name": "id", "type": "bigint"}, {"name": "name", "type": "varchar(255)"}], "warnings": [], "location": "@FOLDER@/exports/abf3b2b0-5a83-49e9-8c2b-d575fe895661.csv", "verified": "size", "upload_s": 0.001}',1,'[]',NULL,'{}','r1','','192.0.2.1',1750000000.0,1750000000.0,1750000000.0,1749999999.0);
INSERT INTO exports VALUES('2001d56b-fa8e-4322-b0fe-053b92433e9a','default','grpc','push','default',1,'queued',NULL,'{"query": "", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": [{"name": "n", "type": "bigint"}]}','pushed','0000000000000000000000000000000000000000000000000000000000000000',2,0,0,0,NULL,0,NULL,0,'[]',NULL,'{}','r1','','192.0.2.1',1750000000.0,NULL,NULL,NULL);
INSERT INTO exports VALUES('00000000-0000-4000-8000-000000000001','default','native','sql:main','default',0,'running','reading','{"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "connection": "main", "params": [], "format": "csv", "options": {}, "compression": "none", "filename": null, "store": "local", "dataset": null, "series": null, "pushed": null}',NULL,NULL,2,0,1,0,NULL,0,NULL,1,'[]',NULL,'{}','r1','','192.0.2.1',1750000000.0,1750000000.0,NULL,NULL);
CREATE TABLE events (
	export_id VARCHAR(36) NOT NULL, 
	seq INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	data JSON NOT NULL, 
	at DOUBLE NOT NULL, 
	PRIMARY KEY (export_id, seq)
);
INSERT INTO events VALUES('abf3b2b0-5a83-49e9-8c2b-d575fe895661',1,'completed','{"status": "completed", "error": null}',1795998310.584136486);
INSERT INTO events VALUES('d9f0643c-b435-43df-be97-8ba502412b8a',1,'completed','{"status": "completed", "error": null}',1795998310.8464927673);
INSERT INTO events VALUES('697b2e2a-593e-4e19-a29e-831b0c4c40de',1,'progress','{"phase": "reading", "rows": 2, "bytes": 100}',1750000000.0);
INSERT INTO events VALUES('7eaa5a03-9d3f-47ff-be00-8792598b5381',1,'failed','{"status": "failed", "error": {"code": "failed", "message": "It ended as failed.", "retryable": false}}',1750000000.0);
INSERT INTO events VALUES('ad0d2576-5be7-420f-9a54-6e35a6999a89',1,'canceled','{"status": "canceled", "error": {"code": "canceled", "message": "It ended as canceled.", "retryable": false}}',1750000000.0);
CREATE TABLE pushes (
	export_id VARCHAR(36) NOT NULL, 
	held_until DOUBLE NOT NULL, 
	PRIMARY KEY (export_id)
);
INSERT INTO pushes VALUES('2001d56b-fa8e-4322-b0fe-053b92433e9a',1750000000.0);
CREATE TABLE used_links (
	token_sha256 VARCHAR(64) NOT NULL, 
	export_id VARCHAR(36) NOT NULL, 
	used_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	PRIMARY KEY (token_sha256)
);
INSERT INTO used_links VALUES('f839161355091fcd9e33f571e0b11c60217a5009f9973e769c13d7858db162cc','abf3b2b0-5a83-49e9-8c2b-d575fe895661',1750000000.0,4000000000.0);
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
INSERT INTO audit VALUES(1,1795998310.5903692245,'default','export','abf3b2b0-5a83-49e9-8c2b-d575fe895661','completed','127.0.0.1','{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": "local", "columns": ["id", "name"], "rows": 5, "bytes": 48, "error_code": null}');
INSERT INTO audit VALUES(2,1795998310.7751557826,'default','export','d9f0643c-b435-43df-be97-8ba502412b8a','begun','127.0.0.1','{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": null, "columns": [], "rows": 0, "bytes": 0, "error_code": null}');
INSERT INTO audit VALUES(3,1795998310.8478441238,'default','export','d9f0643c-b435-43df-be97-8ba502412b8a','completed','127.0.0.1','{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": null, "columns": ["id", "name"], "rows": 5, "bytes": 48, "error_code": null, "sent_bytes": 8}');
INSERT INTO audit VALUES(4,1750000000.0,'default','export','7eaa5a03-9d3f-47ff-be00-8792598b5381','failed','192.0.2.1','{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": "local", "columns": [], "rows": 0, "bytes": 0, "error_code": "failed"}');
INSERT INTO audit VALUES(5,1750000000.0,'default','export','ad0d2576-5be7-420f-9a54-6e35a6999a89','canceled','192.0.2.1','{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": "local", "columns": [], "rows": 0, "bytes": 0, "error_code": "canceled"}');
INSERT INTO audit VALUES(6,1750000000.0,'default','export','e8673960-5569-487f-9028-13f371b06b36','completed','192.0.2.1','{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": "local", "columns": ["id", "name"], "rows": 5, "bytes": 0, "error_code": null}');
INSERT INTO audit VALUES(7,1750000000.0,'default','export','00000000-0000-4000-8000-000000000001','begun','192.0.2.1','{"door": "native", "source": {"query": "SELECT id, name FROM users ORDER BY id LIMIT 5", "dataset": null, "connection": "main", "params": []}, "format": "csv", "store": null, "columns": [], "rows": 0, "bytes": 0, "error_code": null}');
INSERT INTO audit VALUES(8,1750000000.0,'ann','login',NULL,'refused','192.0.2.1','{}');
CREATE TABLE queue (
	export_id VARCHAR(36) NOT NULL, 
	connection VARCHAR(255) NOT NULL, 
	owner VARCHAR(128) NOT NULL, 
	priority INTEGER NOT NULL, 
	asked_at DOUBLE NOT NULL, 
	due_at DOUBLE NOT NULL, 
	worker VARCHAR(64), 
	PRIMARY KEY (export_id)
);
INSERT INTO queue VALUES('697b2e2a-593e-4e19-a29e-831b0c4c40de','main','default',2,1750000000.0,0.0,'a worker that is gone');
INSERT INTO queue VALUES('30855868-1e8b-46f1-802b-fb9fb0bd8af2','main','default',2,1750000000.0,1750000000.0,NULL);
INSERT INTO queue VALUES('3a4ef45d-ee7d-4b8b-95c9-475d6e75e2b5','main','default',2,1750000000.0,0.0,NULL);
CREATE TABLE tells (
	export_id VARCHAR(36) NOT NULL, 
	target VARCHAR(32) NOT NULL, 
	tries INTEGER NOT NULL, 
	due_at DOUBLE NOT NULL, 
	worker VARCHAR(64), 
	PRIMARY KEY (export_id, target)
);
INSERT INTO tells VALUES('7eaa5a03-9d3f-47ff-be00-8792598b5381','webhook:0',0,0.0,NULL);
INSERT INTO tells VALUES('ad0d2576-5be7-420f-9a54-6e35a6999a89','webhook:0',0,0.0,NULL);
CREATE TABLE executors (
	id VARCHAR(64) NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO executors VALUES('a worker that is gone',1750000000.0);
CREATE TABLE probes (
	id INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	filling TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO probes VALUES(1,1750000000.0,'2c93d40d369b131bde92779b71f87208f71541ed185094ec208c3999cd5fb0b85e558e682d41316d1763f7272a17150e2d09b97d901f9c9cf67cad161ce507861a168c60a25b75a265b5eb72853bffc97710c77a0c01f5cf2a6b7e6af5194ba674dca73975a5e05000af52c3d60d4f4a5c7a611fcaf1fa9f90538f980070a46bfc12128e1e2bde3cbb321c5ee5deee3522c8d4bac6306b18d2488e99b10a88ca59ce5d91f2761121765a447e154976a8f42cb5a6f070f53ea081aa8793d8d99d444754a1b44ec61f2f7c7ae619ffcb869229fe85e58d7426101ed9f05595e84e3cec68cfcacceeefc2b8f188e9aa45e05cc1eeb965e10e23bb31dfd1fdecaf43ba8ea28caf36683dc4cabdff61baee06ae54ca3c8f49b2518e8636c0fb5e3b2bd44f278b77e1624fbf620173936a535ce17f58aa134fca3ec330caa1b6adb52d1b8a79cc42f68352d0c3fefd25453abe3dd4e4494020636ea953feee990625ca970b1fe736d044b5e8c6e595f478b6139488c6ddc572f90dea3a60c1b70ab1dd9ee56ef36afd5bdc6eddd2f175c11933b64e2f0a51c106b037ca7a538ce29d71589a65c607865a052a3a085c3bf5e69025be4ea722a21e9e73f487a20803f6098f38a13d6549c759f7c7731f3ca6a79adb6a1d80ff57172896269310a2fa95e273387fe297d18887331da97c8024e57f8206db3224c041ef349d2b4986a88099');
CREATE TABLE schedules (
	name VARCHAR(255) NOT NULL, 
	definition TEXT NOT NULL, 
	looked_at DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO schedules VALUES('nightly','0 3 * * * UTC',1795998309.7469911575);
CREATE TABLE counters (
	name VARCHAR(64) NOT NULL, 
	labels TEXT NOT NULL, 
	value DOUBLE NOT NULL, 
	PRIMARY KEY (name, labels)
);
INSERT INTO counters VALUES('export_duration_seconds_bucket','{"le": "1.0"}',1.0);
INSERT INTO counters VALUES('export_duration_seconds_sum','{}',0.88142132759094238281);
INSERT INTO counters VALUES('export_records_processed_total','{}',15.0);
INSERT INTO counters VALUES('export_upload_duration_seconds_bucket','{"le": "0.05"}',2.0);
INSERT INTO counters VALUES('export_upload_duration_seconds_sum','{}',0.0020000000000000000416);
INSERT INTO counters VALUES('fluxport_bytes_total','{}',96.0);
INSERT INTO counters VALUES('fluxport_rows_per_second_bucket','{"format": "csv", "le": "1000.0", "source": "main"}',2.0);
INSERT INTO counters VALUES('fluxport_rows_per_second_sum','{"format": "csv", "source": "main"}',80.7177909157365292);
INSERT INTO counters VALUES('export_duration_seconds_bucket','{"le": "0.1"}',1.0);
INSERT INTO counters VALUES('export_duration_seconds_bucket','{"le": "0.05"}',2.0);
INSERT INTO counters VALUES('export_errors_total','{"code": "failed"}',1.0);
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
	own_results BOOLEAN NOT NULL, 
	mail_domains JSON, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE, 
	last_used_at DOUBLE, 
	revoked_at DOUBLE, 
	PRIMARY KEY (id)
);
INSERT INTO keys VALUES('abcdefghijkl','nightly','bc4232575d92a13bd44898a34c399bc2398b5b32081c8f7ac01cd997d3dcba5b','ann','["sql:main"]',NULL,0,'["example.com"]',1750000000.0,NULL,NULL,NULL);
INSERT INTO keys VALUES('at2pj6acjpab','old','125055bb6c344417ead31c1fde7ffde517ac8f68c7d462d30c34ca80ea8e9707','ann','["sql:main"]',NULL,0,NULL,1750000000.0,1750000060.0,NULL,1750000000.0);
CREATE TABLE users (
	name VARCHAR(128) NOT NULL, 
	password_hash VARCHAR(255) NOT NULL, 
	scopes JSON NOT NULL, 
	created_at DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO users VALUES('ann','$argon2id$v=19$m=19456,t=2,p=1$yg5V8OUEQinhwBnJEha57A$yqqwFvARpIeIZuJORAOw+U6GS9eXffg7novSVO+dsBQ','["sql:*"]',1750000000.0);
CREATE TABLE sessions (
	token_sha256 VARCHAR(64) NOT NULL, 
	owner VARCHAR(128) NOT NULL, 
	how VARCHAR(16) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	used_at DOUBLE NOT NULL, 
	PRIMARY KEY (token_sha256)
);
INSERT INTO sessions VALUES('b0679324228c35931acdfa8a487f94873c05094138a477994a5bdba6d6c24a56','ann','password',4000000000.0,4000000000.0);
CREATE TABLE login_attempts (
	owner VARCHAR(128) NOT NULL, 
	address VARCHAR(64) NOT NULL, 
	pause_s DOUBLE NOT NULL, 
	next_at DOUBLE NOT NULL, 
	PRIMARY KEY (owner, address)
);
INSERT INTO login_attempts VALUES('ann','*',0.0009765625,4000000000.0);
INSERT INTO login_attempts VALUES('*','192.0.2.1',0.0009765625,4000000000.0);
INSERT INTO login_attempts VALUES('ann','192.0.2.1',0.0625,4000000000.0624999999);
CREATE INDEX exports_by_status ON exports (status, expires_at);
CREATE INDEX exports_by_owner ON exports (owner, created_at);
CREATE INDEX ix_pushes_held_until ON pushes (held_until);
CREATE INDEX ix_used_links_export_id ON used_links (export_id);
CREATE INDEX ix_audit_owner ON audit (owner);
CREATE INDEX ix_audit_export_id ON audit (export_id);
CREATE INDEX ix_audit_at ON audit (at);
CREATE INDEX queue_by_worker ON queue (worker, due_at);
CREATE INDEX queue_by_connection ON queue (connection, owner, worker);
CREATE INDEX tells_by_worker ON tells (worker, due_at);
CREATE INDEX ix_used_signatures_expires_at ON used_signatures (expires_at);
CREATE INDEX ix_keys_owner ON keys (owner);
CREATE UNIQUE INDEX keys_by_name ON keys (name) WHERE revoked_at IS NULL;
CREATE INDEX ix_sessions_owner ON sessions (owner);
CREATE INDEX ix_login_attempts_next_at ON login_attempts (next_at);
COMMIT;
