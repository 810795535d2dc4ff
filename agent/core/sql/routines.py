"""What calling a routine may do, as far as the catalog tells.

A routine of the server's own is known by its name. A volatile one that is not in either list here counts as doing
more than computing: a server newer than this list fails closed.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

MORE: Final = 1
"""It may do more than compute or read what harms nobody: `EXECUTE schema.name` names it."""
CODE: Final = 2
"""It may run statements that show only when it runs."""
CONSTANT: Final = 4
"""What it does hangs on its arguments: a name, a setting, a statement's text."""
SETTING: Final = 8
"""It is set_config."""
UNCLEAR: Final = 16
"""It may hide what it does: nothing is known of it, or it switches off what would show it."""
JSON: Final = 32
"""It turns values into JSON, by a cast that their type's owner may have made."""
COMPARES: Final = 64
"""It compares values of any type, in the way that their type's owner may have made."""

FIRST_USER: Final = 16384
"""OIDs below are of objects that initdb made (access/transam.h, FirstNormalObjectId)."""


class Routine(Struct, frozen=True):
    """One row of pg_proc."""

    oid: int
    schema: str
    name: str
    language: str = ""
    kind: str = "f"
    """pg_proc.prokind: f function, p procedure, a aggregate, w window function."""
    volatility: str = "v"
    definer: bool = False
    settings: tuple[str, ...] = ()
    """Its own SET clauses, `name=value`."""
    components: tuple[int, ...] = ()
    """The functions that an aggregate consists of, and those that arguments left out have in their defaults."""
    plain: bool = False
    """It is a trigger function in C that is known to write nothing but the row and large objects."""

    @property
    def object(self) -> str:
        """`schema.name`, as operations name it."""
        return f"{self.schema}.{self.name}"


RUNS_TEXT: Final = frozenset(
    (
        "query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema table_to_xml "
        "table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema schema_to_xml_and_xmlschema "
        "database_to_xml database_to_xmlschema database_to_xml_and_xmlschema ts_stat"
    ).split()
)
"""Builtins that run a statement they are given, or read tables that an argument names."""

RUNS_CHECKS: Final = frozenset(
    (
        "domain_in domain_recv array_in array_recv record_in record_recv range_in range_recv multirange_in "
        "multirange_recv pg_input_is_valid pg_input_error_info brin_summarize_new_values brin_summarize_range "
        "pg_restore_attribute_stats"
    ).split()
)
"""Builtins that make values of a type, or compute an index, that an argument names: what users have written for it
runs. Casts don't call them by name."""

BY_ARGUMENT: Final = frozenset(
    "nextval currval setval set_config lo_import lo_export pg_notify ts_rewrite current_setting".split()
)
"""Builtins whose arguments name what they act on."""

MAKES_JSON: Final = frozenset(
    (
        "to_json to_jsonb row_to_json array_to_json json_agg jsonb_agg json_agg_strict jsonb_agg_strict "
        "json_build_object json_build_array jsonb_build_object jsonb_build_array json_object_agg jsonb_object_agg "
        "json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict jsonb_object_agg_strict "
        "jsonb_object_agg_unique jsonb_object_agg_unique_strict"
    ).split()
)
"""Builtins that turn values of any type into JSON (json.c, datum_to_json)."""

_COMPARING: Final = re.compile(
    "array_(?:eq|ne|lt|gt|le|ge|larger|smaller|positions?|remove|replace)|arraycontain|arrayoverlap|btarraycmp"
    "|record_(?:eq|ne|lt|gt|le|ge|larger|smaller)|btrecordcmp|hash_(?:array|record|range|multirange)|(?:multi)?range_"
    "|elem_contained|width_bucket"
)
"""Builtins that compare parts of arrays, rows and ranges, by how their names begin."""

COMPUTES: Final = frozenset(
    (
        "amvalidate array_sample array_shuffle bernoulli binary_upgrade_logical_slot_has_caught_up brinhandler "
        "bthandler clock_timestamp current_query currval dsnowball_init dsnowball_lexize gen_random_uuid ginhandler "
        "gisthandler hashhandler heap_tableam_handler lastval lo_close lo_get lo_lseek lo_lseek64 lo_open lo_tell "
        "lo_tell64 loread nextval pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all "
        "pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_available_wal_summaries "
        "pg_blocking_pids pg_collation_actual_version pg_control_checkpoint pg_control_init pg_control_recovery "
        "pg_control_system pg_current_logfile pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn "
        "pg_database_collation_actual_version pg_database_size pg_export_snapshot pg_get_aios "
        "pg_get_backend_memory_contexts pg_get_loaded_modules pg_get_multixact_members pg_get_sequence_data "
        "pg_get_shmem_allocations pg_get_shmem_allocations_numa pg_get_wait_events pg_get_wal_replay_pause_state "
        "pg_get_wal_resource_managers pg_get_wal_summarizer_state pg_hba_file_rules pg_ident_file_mappings "
        "pg_indexes_size pg_is_in_backup pg_is_in_recovery pg_is_wal_replay_paused "
        "pg_isolation_test_session_is_blocked pg_jit_available pg_last_committed_xact pg_last_wal_receive_lsn "
        "pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_lock_status pg_notification_queue_usage "
        "pg_partition_ancestors pg_partition_tree pg_prepared_xact pg_relation_size pg_replication_origin_progress "
        "pg_replication_origin_session_is_setup pg_replication_origin_session_progress pg_backup_start_time "
        "pg_safe_snapshot_blocking_pids pg_sequence_last_value pg_show_all_file_settings "
        "pg_show_replication_origin_status pg_sleep pg_sleep_for pg_sleep_until pg_stat_clear_snapshot "
        "pg_stat_force_next_flush pg_stat_get_backend_io pg_stat_get_backend_wal pg_stat_get_io "
        "pg_stat_get_recovery_prefetch pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit "
        "pg_stat_get_xact_function_calls pg_stat_get_xact_function_self_time pg_stat_get_xact_function_total_time "
        "pg_stat_get_xact_numscans pg_stat_get_xact_tuples_deleted pg_stat_get_xact_tuples_fetched "
        "pg_stat_get_xact_tuples_hot_updated pg_stat_get_xact_tuples_inserted "
        "pg_stat_get_xact_tuples_newpage_updated pg_stat_get_xact_tuples_returned pg_stat_get_xact_tuples_updated "
        "pg_stat_have_stats pg_table_size pg_tablespace_size pg_total_relation_size pg_try_advisory_lock "
        "pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared "
        "pg_wal_summary_contents pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status "
        "random random_normal setseed spghandler system timeofday txid_status uuidv4 uuidv7 "
        "pg_stat_get_progress_info pg_ls_tmpdir_size pg_event_trigger_ddl_commands currtid2 "
        "plpgsql_validator"
    ).split()
)
"""Volatile builtins that compute, wait, or read what harms nobody."""

DOES_MORE: Final = (
    frozenset(
        (
            "binary_upgrade_add_sub_rel_state binary_upgrade_create_empty_extension binary_upgrade_replorigin_advance "
            "binary_upgrade_set_missing_value binary_upgrade_set_next_array_pg_type_oid "
            "binary_upgrade_set_next_heap_pg_class_oid binary_upgrade_set_next_heap_relfilenode "
            "binary_upgrade_set_next_index_pg_class_oid binary_upgrade_set_next_index_relfilenode "
            "binary_upgrade_set_next_multirange_array_pg_type_oid binary_upgrade_set_next_multirange_pg_type_oid "
            "binary_upgrade_set_next_pg_authid_oid binary_upgrade_set_next_pg_enum_oid "
            "binary_upgrade_set_next_pg_tablespace_oid binary_upgrade_set_next_pg_type_oid "
            "binary_upgrade_set_next_toast_pg_class_oid binary_upgrade_set_next_toast_relfilenode "
            "binary_upgrade_set_record_init_privs brin_desummarize_range brin_summarize_new_values "
            "brin_summarize_range "
            "gin_clean_pending_list lo_creat lo_create lo_export lo_from_bytea lo_import lo_put lo_truncate "
            "lo_truncate64 lo_unlink lowrite pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup "
            "pg_cancel_backend pg_clear_attribute_stats pg_clear_relation_stats pg_copy_logical_replication_slot "
            "pg_copy_physical_replication_slot pg_create_logical_replication_slot "
            "pg_create_physical_replication_slot pg_create_restore_point pg_drop_replication_slot "
            "pg_extension_config_dump pg_import_system_collations pg_log_backend_memory_contexts "
            "pg_log_standby_snapshot pg_logical_emit_message pg_logical_slot_get_binary_changes "
            "pg_logical_slot_get_changes pg_logical_slot_peek_binary_changes pg_logical_slot_peek_changes "
            "pg_ls_archive_statusdir pg_ls_dir pg_ls_logdir pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir "
            "pg_ls_summariesdir pg_ls_tmpdir pg_ls_waldir pg_nextoid pg_notify pg_promote pg_read_binary_file "
            "pg_read_file pg_read_file_old pg_reload_conf pg_replication_origin_advance pg_replication_origin_create "
            "pg_replication_origin_drop pg_replication_origin_session_reset pg_replication_origin_session_setup "
            "pg_replication_origin_xact_reset pg_replication_origin_xact_setup pg_replication_slot_advance "
            "pg_restore_attribute_stats pg_restore_relation_stats pg_rotate_logfile pg_rotate_logfile_old pg_stat_file "
            "pg_stat_reset pg_stat_reset_backend_stats pg_stat_reset_replication_slot pg_stat_reset_shared "
            "pg_stat_reset_single_function_counters pg_stat_reset_single_table_counters pg_stat_reset_slru "
            "pg_stat_reset_subscription_stats pg_stop_making_pinned_objects pg_switch_wal pg_sync_replication_slots "
            "pg_terminate_backend pg_wal_replay_pause pg_wal_replay_resume plpgsql_call_handler "
            "plpgsql_inline_handler set_config setval ts_rewrite"
        ).split()
    )
    | RUNS_TEXT
)
"""Builtins that touch files, other sessions, replication, large objects, statistics, settings, or run what they are
given, whatever their volatility."""

_TRIGGERS: Final = frozenset(
    (
        "unique_key_recheck suppress_redundant_updates_trigger tsvector_update_trigger tsvector_update_trigger_column "
        "tsearch2"
    ).split()
)

HIDING: Final = frozenset(
    "debug_print_rewritten debug_print_parse debug_print_plan debug_pretty_print client_min_messages "
    "log_min_messages lc_messages".split()
)
"""Settings that could keep a statement's tree from being seen."""

DECISIVE: Final = frozenset(
    (
        "search_path role session_authorization standard_conforming_strings client_encoding row_security "
        "backslash_quote escape_string_warning session_replication_role transform_null_equals "
        "transaction_read_only default_transaction_read_only restrict_nonsystem_relation_kind xmlbinary xmloption "
        "check_function_bodies plpgsql.variable_conflict"
    ).split()
)
"""Settings that the meaning of later statements rests on."""


def setting_effect(name: str) -> int:
    """What changing a setting does: UNCLEAR, SETTING when later statements rest on it, or 0."""
    lower = name.lower()
    if lower in HIDING:
        return UNCLEAR | SETTING
    return SETTING if lower in DECISIVE else 0


def effect(routine: Routine | None) -> int:
    """What calling it may do: MORE, CODE and so on, in one number; 0 when it only computes."""
    if routine is None:
        return UNCLEAR
    if routine.oid < FIRST_USER:
        return _builtin(routine) if routine.schema == "pg_catalog" else 0
    found = MORE
    for setting in routine.settings:
        found |= setting_effect(setting.split("=", 1)[0]) & UNCLEAR
    if routine.kind == "a":
        return found  # its functions are looked at for themselves
    if routine.language != "c" or routine.volatility != "i":
        found |= CODE
    if routine.language == "internal" and routine.volatility != "i":
        found |= UNCLEAR  # any of the server's own under another name
    return found


def _builtin(routine: Routine) -> int:
    name = routine.name
    if name == "set_config":
        return MORE | CONSTANT | SETTING
    found = CONSTANT if name in BY_ARGUMENT else 0
    if name in MAKES_JSON:
        return JSON
    if _COMPARING.match(name) is not None:
        return COMPARES
    if name in RUNS_TEXT or name in RUNS_CHECKS:
        return MORE | CODE | CONSTANT
    if name == "ts_rewrite" and routine.volatility != "v":
        return 0
    if name == "ts_rewrite":
        return MORE | CODE | CONSTANT
    if name in DOES_MORE or (routine.volatility == "v" and name not in COMPUTES and not _trigger(routine)):
        found |= MORE
    return found


def _trigger(routine: Routine) -> bool:
    """Functions that only triggers can call; the server refuses anybody else."""
    name = routine.name
    return name.startswith("RI_FKey_") or name in _TRIGGERS
