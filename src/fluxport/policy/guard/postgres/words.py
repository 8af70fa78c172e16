"""What statements for PostgreSQL may call and name: functions, operators, types; and known functions that are refused.

Names are in lower case, as PostgreSQL stores those without quotes.
"""

from __future__ import annotations

from fluxport.policy.guard.words import reasons, word_set

FUNCTIONS = word_set("""
    abbrev abs acos acosd acosh age any_value area array_agg array_append array_cat array_dims array_fill array_length
    array_lower array_ndims array_position array_positions array_prepend array_remove array_replace array_reverse
    array_sample array_shuffle array_sort array_to_json array_to_string array_to_tsvector array_upper ascii asin asind
    asinh atan atan2 atan2d atand atanh avg bit bit_and bit_count bit_length bit_or bit_xor bool bool_and bool_or
    bound_box box bpchar broadcast btrim cardinality casefold cash_words cbrt ceil ceiling center char char_length
    character_length chr cidr circle clock_timestamp concat concat_ws convert convert_from convert_to corr cos cosd cosh
    cot cotd count covar_pop covar_samp crc32 crc32c cume_dist current_database current_schema
    date date_add date_bin date_part date_subtract date_trunc datemultirange daterange decode degrees dense_rank
    diagonal diameter div encode enum_first enum_last enum_range erf erfc every exp extract factorial family first_value
    float4 float8 floor format gamma gcd gen_random_uuid generate_series generate_subscripts get_bit get_byte
    get_current_ts_config hashtext hashtextextended height host hostmask inet_merge inet_same_family initcap int2 int4
    int4multirange int4range int8 int8multirange int8range interval is_normalized isclosed isempty isfinite
    ishorizontal isopen isparallel isperp isvertical
    json_agg json_agg_strict json_array_element json_array_element_text json_array_elements json_array_elements_text
    json_array_length json_build_array json_build_object json_each json_each_text json_extract_path
    json_extract_path_text json_object json_object_agg json_object_agg_strict json_object_agg_unique
    json_object_agg_unique_strict json_object_field json_object_field_text json_object_keys json_populate_record
    json_populate_recordset json_strip_nulls json_to_record json_to_recordset json_to_tsvector json_typeof jsonb_agg
    jsonb_agg_strict jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
    jsonb_build_object jsonb_concat jsonb_contains jsonb_delete jsonb_delete_path jsonb_each jsonb_each_text
    jsonb_exists jsonb_exists_all jsonb_exists_any jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object
    jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict jsonb_object_keys
    jsonb_path_exists jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz jsonb_path_query jsonb_path_query_array
    jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record
    jsonb_populate_record_valid jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls
    jsonb_to_record jsonb_to_recordset jsonb_to_tsvector jsonb_typeof
    justify_days justify_hours justify_interval lag last_value lcm lead left length lgamma like like_escape line ln log
    log10 lower lower_inc lower_inf lpad lseg ltrim macaddr macaddr8 macaddr8_set7bit make_date make_interval make_time
    make_timestamp make_timestamptz masklen max md5 min min_scale mod mode money multirange name netmask network
    normalize notlike now npoints nth_value ntile num_nonnulls num_nulls numeric nummultirange numnode numrange
    octet_length overlaps overlay parse_ident path pclose percent_rank percentile_cont percentile_disc
    pg_client_encoding pg_collation_for pg_column_size pg_lsn pg_size_bytes pg_size_pretty pg_typeof
    phraseto_tsquery pi plainto_tsquery point polygon popen position pow power querytree quote_ident quote_literal
    quote_nullable radians radius random random_normal range_agg range_intersect_agg range_merge rank regexp_count
    regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table
    regexp_substr regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat
    replace reverse right round row_number row_to_json rpad rtrim scale set_bit set_byte set_masklen setweight sha224
    sha256 sha384 sha512 sign similar_escape similar_to_escape sin sind sinh slope split_part sqrt starts_with
    statement_timestamp stddev stddev_pop stddev_samp string_agg string_to_array string_to_table strip strpos substr
    substring sum tan tand tanh text textcat textlen time timeofday timestamp timestamptz timetz timezone to_ascii
    to_bin to_char to_date to_hex to_json to_jsonb to_number to_oct to_timestamp to_tsquery to_tsvector
    transaction_timestamp translate trim_array trim_scale trunc ts_debug ts_delete ts_filter ts_headline ts_lexize
    ts_parse ts_rank ts_rank_cd ts_rewrite ts_token_type tsmultirange tsquery_and tsquery_not tsquery_or tsquery_phrase
    tsrange tstzmultirange tstzrange tsvector_concat tsvector_to_array unicode_assigned unistr unnest upper upper_inc
    upper_inf uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7 var_pop var_samp varbit varchar variance
    websearch_to_tsquery width width_bucket xml xml_is_well_formed xml_is_well_formed_content
    xml_is_well_formed_document xmlagg xmlcomment xmlexists xmltext xpath xpath_exists
""")
# Functions behind operators, aggregates and indexes that are not in the manual, and only compute.
FUNCTIONS |= word_set("""
    booland_statefunc booleq boolne boolor_statefunc cashlarger cashsmaller circle_center
    elem_contained_by_multirange elem_contained_by_range float4send float8_accum float8_combine float8_regr_accum
    float8_regr_combine float8send hash_array hash_array_extended hash_multirange hash_multirange_extended hash_numeric
    hash_numeric_extended hash_range hash_range_extended hash_record hash_record_extended hashbpchar hashbpcharextended
    hashchar hashcharextended hashenum hashenumextended hashfloat4 hashfloat4extended hashfloat8 hashfloat8extended
    hashinet hashinetextended hashint2 hashint2extended hashint4 hashint4extended hashint8 hashint8extended
    hashmacaddr hashmacaddrextended hashmacaddr8 hashmacaddr8extended hashname hashnameextended hashoid hashoidextended
    hashoidvector hashoidvectorextended int4mul interval_hash interval_hash_extended jsonb_contained jsonb_hash
    jsonb_hash_extended multirange_contained_by_multirange multirange_contains_elem multirange_contains_multirange
    multirange_contains_range multirange_overlaps_multirange multirange_overlaps_range numeric_inc poly_center
    range_adjacent range_contained_by range_contained_by_multirange range_contains range_contains_elem
    range_contains_multirange range_intersect range_minus range_overlaps range_overlaps_multirange range_union time_hash
    time_hash_extended timestamp_hash timestamp_hash_extended timetz_hash timetz_hash_extended uuid_hash
    uuid_hash_extended xid8cmp
""")
# Types whose names are called like functions: tsquery('a & b').
FUNCTIONS |= word_set("bytea inet json jsonb jsonpath tsquery tsvector uuid")
# Functions of the extensions that PostgreSQL brings, of PostGIS, pgvector and TimescaleDB, that read only their
# arguments.
EXTENSION_FUNCTIONS = word_set("""
    citext cube cube_dim cube_distance cube_enlarge cube_inter cube_is_point cube_ll_coord cube_size cube_subset
    cube_union cube_ur_coord
    earth earth_box earth_distance gc_to_sec latitude ll_to_earth longitude sec_to_gc
    daitch_mokotoff difference dmetaphone dmetaphone_alt levenshtein levenshtein_less_equal metaphone soundex
    text_soundex
    akeys avals defined delete each exist hstore hstore_to_array hstore_to_json hstore_to_json_loose hstore_to_jsonb
    hstore_to_jsonb_loose hstore_to_matrix isdefined isexists populate_record skeys slice svals
    icount idx intset sort sort_asc sort_desc subarray uniq
    is_valid isbn isbn13 ismn ismn13 issn issn13 make_valid upc
    index lca ltree2text nlevel subltree subpath text2ltree
    show_trgm similarity strict_word_similarity word_similarity
    armor dearmor digest gen_random_bytes hmac
    seg_center seg_inter seg_lower seg_size seg_union seg_upper
    unaccent uuid_generate_v1 uuid_generate_v1mc uuid_generate_v3 uuid_generate_v4 uuid_generate_v5 uuid_nil uuid_ns_dns
    uuid_ns_oid uuid_ns_url uuid_ns_x500
    xml_encode_special_chars xml_valid xpath_bool xpath_list xpath_nodeset xpath_number xpath_string
    binary_quantize cosine_distance hamming_distance inner_product jaccard_distance l1_distance l2_distance l2_norm
    l2_normalize subvector vector_dims vector_norm
    first histogram interpolate last locf time_bucket time_bucket_gapfill
    box2d box3d geography geometry
    st_area st_asbinary st_asewkb st_asewkt st_asgeojson st_asgml st_askml st_asmvt st_asmvtgeom st_assvg st_astext
    st_astwkb st_azimuth st_boundary st_buffer st_buildarea st_centroid st_closestpoint st_clusterdbscan
    st_clusterintersecting st_clusterkmeans st_clusterwithin st_collect st_collectionextract st_concavehull st_contains
    st_containsproperly st_convexhull st_coorddim st_coveredby st_covers st_crosses st_dfullywithin st_difference
    st_dimension st_disjoint st_distance st_distancesphere st_distancespheroid st_dump st_dumppoints st_dumprings
    st_dwithin st_endpoint st_envelope st_equals st_expand st_extent st_exteriorring st_flipcoordinates st_force2d
    st_force3d st_geogfromtext st_geogfromwkb st_geohash st_geometryn st_geometrytype st_geomfromewkb st_geomfromewkt
    st_geomfromgeohash st_geomfromgeojson st_geomfromtext st_geomfromwkb st_hausdorffdistance st_interiorringn
    st_intersection st_intersects st_isclosed st_isempty st_isring st_issimple st_isvalid st_isvalidreason st_length
    st_length2d st_lengthspheroid st_linefrommultipoint st_lineinterpolatepoint st_linelocatepoint st_linemerge
    st_linesubstring st_m st_makeenvelope st_makeline st_makepoint st_makepolygon st_makevalid st_maxdistance
    st_memsize st_minimumboundingcircle st_multi st_ndims st_normalize st_npoints st_nrings st_numgeometries
    st_numinteriorrings st_numpoints st_offsetcurve st_orderingequals st_overlaps st_perimeter st_point st_pointfromtext
    st_pointn st_pointonsurface st_points st_polygon st_polygonize st_project st_reduceprecision st_relate
    st_removerepeatedpoints st_reverse st_rotate st_scale st_segmentize st_setsrid st_shortestline st_simplify
    st_simplifypreservetopology st_snap st_snaptogrid st_split st_srid st_startpoint st_summary st_symdifference
    st_tileenvelope st_touches st_transform st_translate st_union st_voronoipolygons st_within st_x st_xmax st_xmin st_y
    st_ymax st_ymin st_z
""")
# Refused functions by name or pattern (fnmatch), in the order in which they are looked up; a reason continues "it ...".
REFUSED_FUNCTIONS = reasons(
    {
        "pg_read_* pg_ls_* pg_stat_file pg_current_logfile pg_hba_* pg_ident_* pg_show_all_file_settings pg_config "
        "pg_logdir_ls pg_file_* pg_tablespace_*": "reads files of the server",
        "lo_* loread lowrite lo": "reads or writes large objects, and files of the server",
        "pg_sleep*": "only waits",
        "pg_advisory_* pg_try_advisory_* pg_lock_status": "takes or inspects locks of all sessions",
        "query_to_xml* cursor_to_xml* ts_stat crosstab* connectby xpath_table": "runs a statement that is text",
        "table_to_xml* schema_to_xml* database_to_xml*": "reads tables whose names are text",
        "dblink* postgres_fdw_* postgresql_fdw_*": "sends statements to other servers",
        "nextval currval lastval setval pg_sequence_* pg_get_serial_sequence pg_get_sequence_data": (
            "belongs to sequences, which change when a value is taken"
        ),
        "set_config current_setting setseed pg_show_all_settings pg_settings_get_flags set_limit show_limit "
        "isn_weak": "reads or changes settings of the session",
        "txid_* pg_current_xact_* pg_current_snapshot pg_snapshot_* pg_visible_in_snapshot pg_xact_* "
        "pg_export_snapshot pg_last_committed_xact pg_get_multixact_* mxid_age": (
            "reports on transactions, or takes a number for one"
        ),
        "current_user session_user user current_role system_user getpgusername pg_get_userbyid": (
            "reveals accounts of the database"
        ),
        "has_*_privilege pg_has_role pg_get_acl row_security_active acl* makeaclitem": "reports what accounts may do",
        "inet_client_* inet_server_* version ssl_* pg_backend_pid pg_postmaster_* pg_conf_load_time pg_is_in_recovery "
        "pg_jit_available pg_control_* pg_trigger_depth pg_listening_channels pg_blocking_pids "
        "pg_safe_snapshot_blocking_pids pg_available_* getdatabaseencoding current_query pg_stat_* pg_numa_*": (
            "reports on the server and its sessions"
        ),
        "pg_cancel_backend pg_terminate_backend pg_reload_conf pg_rotate_* pg_switch_wal pg_promote pg_log_* "
        "pg_notify* pg_logical_* pg_create_* pg_drop_* pg_copy_* pg_replication_* pg_backup_* pg_wal* pg_import_* "
        "pg_nextoid pg_extension_* pg_stop_* pg_restore_* pg_clear_* pg_set_* pg_sync_* pg_prewarm brin_* gin_* "
        "binary_upgrade_*": "reads or changes the server's state beyond the session",
        "crypt gen_salt pgp_* encrypt* decrypt*": "takes time that its argument sets, or handles keys",
        "normal_rand": "makes any number of rows",
        "xslt_process": "reads documents whose addresses are text",
        "pg_* to_reg* regclass regcollation regnamespace regoper regoperator regproc "
        "regprocedure regrole regtype col_description obj_description shobj_description format_type oidvectortypes "
        "current_schemas currtid2 satisfies_hash_partition amvalidate": "reads the catalogue",
        "daterange_canonical daterange_subdiff int4range_canonical int4range_subdiff int8range_canonical "
        "int8range_subdiff numrange_subdiff tsrange_subdiff tstzrange_subdiff int8_sum int4inc nameconcatoid dround "
        "dtrunc dexp dlog1 dlog10 numeric_div_trunc numeric_exp numeric_ln numeric_log numeric_sqrt xmlvalidate "
        "enum_send xid oid fmgr_c_validator fmgr_internal_validator fmgr_sql_validator plpgsql_validator": (
            "is the inner working of an operator, an aggregate or a type"
        ),
    }
)
OPERATORS = word_set("""
    + - * / % ^ = <> != < > <= >= || | & # ~ << >> |/ ||/ @ !! !
    ~~ !~~ ~~* !~~* ~* !~ !~* ^@ ~<~ ~<=~ ~>=~ ~>~ *< *<= *<> *= *> *>=
    -> ->> #> #>> @> <@ ? ?| ?& @? @@ @@@ #- && &< &> <<| |>> &<| |&> -|- @-@ ## <-> >^ <^ ?# ?- ?-| ?|| ~= <<= >>=
    ~> %> <% %>> <<% <->> <<-> <->>> <<<-> #= %# %% ?> ?< <@> <#> <=> <+> <~> <%> ?@> ?<@ ?~ ?@ ^@> ^<@ ^~ ^?
    #<# #<=# #=# #># #>=# <!> ~~= @@ &&& << |=| <<#>> <<->> |-|
""")
# Types that name objects of the system: their input looks names up, or they have no use in a query.
REFUSED_TYPES = word_set("""
    regclass regcollation regnamespace regoper regoperator regproc regprocedure regrole regtype regdatabase aclitem
    cstring internal refcursor trigger event_trigger fdw_handler index_am_handler table_am_handler tsm_handler
    language_handler gtsvector txid_snapshot
""")
SYSTEM_TYPES_ALLOWED = word_set("pg_lsn")
# Fields of rows that functions return. Any other name after ``(x).`` must be allowed as a function, for PostgreSQL
# calls the function of that name where x has no such field.
FIELDS = word_set("""
    a amount b begin c c1 c2 c3 c4 c5 city code count country currency d data date day description e elem email end
    error f1 f2 f3 f4 f5 f6 f7 f8 f9 finish first from g geom h height house i id index j key kind label last lat
    latitude length level lexeme line line1 line2 lon longitude max min minute month n name ndoc nentry no note number
    ordinality path phone place position positions postcode price quantity r region result second size sku start state
    status stop street sum t text time title to total type unit url value w weight weights width word x y year z
    zip
""")
# Functions in FROM whose result is always a row.
ROW_FUNCTIONS = word_set("""
    each json_each json_each_text json_populate_record json_populate_recordset json_to_record json_to_recordset
    jsonb_each jsonb_each_text jsonb_populate_record jsonb_populate_recordset jsonb_to_record jsonb_to_recordset
    populate_record ts_debug ts_parse ts_token_type
""")
# The OUT parameters of functions that have one: the name of their column in FROM, whatever the alias.
RESULT_NAMES = dict.fromkeys(
    word_set("json_array_elements json_array_elements_text jsonb_array_elements jsonb_array_elements_text"), "value"
)
SAMPLING_METHODS = word_set("bernoulli system system_rows system_time")
# Calls that build long values: the place of the length among the arguments, and whether it multiplies the first one.
AMPLIFIERS: dict[str, tuple[int, bool]] = {
    "repeat": (1, True),
    "lpad": (1, False),
    "rpad": (1, False),
    "array_fill": (1, True),
    "bpchar": (1, False),  # pads, like the next
    "bit": (1, False),
}
PADDED_TYPES = word_set("bpchar char bit varbit")  # filled up to the length in parentheses, or allocated
