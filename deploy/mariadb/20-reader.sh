#!/bin/sh
# The account of exports: it can read the one database and nothing else. The image sources this file.
docker_process_sql --binary-mode <<SQL
CREATE USER 'fluxport'@'%' IDENTIFIED BY '${READER_PASSWORD}' WITH MAX_USER_CONNECTIONS 20;
GRANT SELECT ON shop.* TO 'fluxport'@'%';
SQL
