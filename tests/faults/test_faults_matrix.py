"""The fault matrix: each row of it has a test, and each test that the matrix or the docs name is there.

The rows are letters and numbers of kinds of faults: A inputs, B order and repetition, C exceptions and ends,
D saving and resuming, E hostile or broken files and plug-ins, G threads.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent

MATRIX = """
A1  faults/test_faults_inputs::of_an_empty_dataset_nothing_is_made
A2  core/test_epochs::a_batch_size_over_the_length_gives_one_short_batch
A3  core/test_run_options::values_that_cannot_be_meant_are_refused_before_any_work
A4  core/test_epochs::drop_last_drops_in_each_epoch
A5  faults/test_faults_inputs::a_last_batch_too_small_for_its_model_is_the_models_error_with_its_number
A6  core/test_epochs::without_end core/test_epochs::no_epoch_does_nothing
A7  core/test_index::what_cannot_be_ids_is_refused
A8  core/test_index::ids_are_kept_as_they_are core/test_index::what_cannot_be_ids_is_refused
A9  tf/test_tf_input::bad_input_is_refused_and_nothing_changes
    sklearn/test_sklearn_traps::numbers_that_are_none_are_found
A10 core/test_batch::lengths_are_checked_after_each_action
A11 core/test_columns::strings_keep_their_lengths_across_batches
A12 faults/test_faults_inputs::a_layout_of_memory_changes_nothing
    faults/test_faults_inputs::an_in_place_action_on_views_that_cannot_be_written_says_so
A13 core/test_errors::a_misspelt_method_or_action_is_answered_with_the_right_one
    core/test_variables::unknown_variables_are_errors_with_the_nearest_name
A14 core/test_model_steps::a_component_wins_over_a_variable_of_its_name_and_says_so
A15 core/test_model_steps::append_to_wins_over_save_to_and_says_so
A16 core/test_model_steps::append_to_what_cannot_be_appended_to_is_found_before_the_model_is_called
A17 core/test_model_steps::only_modes_are_modes
A18 faults/test_faults_inputs::two_models_of_one_name_are_refused
A19 core/test_model_steps::what_cannot_be_imported_is_refused_when_it_is_written
A20 core/test_algebra::a_template_cannot_run_and_says_what_to_do
A21 faults/test_faults_inputs::children_of_one_template
A22 core/test_model_steps::models_are_declared_before_they_are_used
    core/test_models_handle::configs_that_contradict
A23 core/test_model_steps::make_data_must_make_arguments
A24 sklearn/test_sklearn_partial::without_classes_the_first_batch_says_how_to_give_them
    sklearn/test_sklearn_traps::labels_outside_the_classes
A25 faults/test_faults_inputs::a_refused_batch_leaves_the_model_as_the_one_before_left_it
B1  core/test_prefetch_equal::threads_change_nothing core/test_prefetch_equal::processes_change_nothing
B2  faults/test_faults_random::pipelines_made_at_random
B3  core/test_epochs::the_order_follows_from_the_seed_and_the_epoch
    core/test_epochs::the_seed_of_a_run_that_named_none_can_be_read_and_used_again
B4  core/test_batch::each_batch_draws_from_the_seed_and_its_number
B6  core/test_prefetch_equal::a_second_run_begins_anew_and_keeps_what_is_to_be_kept
B7  core/test_prefetch_ends::two_threads_train_one_imported_model
B8  core/test_algebra::a_copy_goes_on_from_where_the_pipeline_is_and_apart_from_it
    core/test_algebra::what_cannot_be_pickled_is_said
B9  core/test_prefetch_ends::runs_inside_of_actions
B10 core/test_epochs::two_iterations_do_not_disturb_each_other
C1  core/test_prefetch_ends::an_action_raises
C2  core/test_prefetch_ends::a_batch_is_left_out
C3  core/test_prefetch_ends::an_action_raises_in_another_process
C4  core/test_errors::a_stop_iteration_does_not_end_the_run_in_silence
C5  core/test_prefetch_ends::the_loop_ends_early
C6  core/test_prefetch_ends::an_action_that_blocks_does_not_hold_up_the_end
C7  core/test_interrupts::ctrl_c_ends_the_run core/test_interrupts::a_second_ctrl_c_is_not_swallowed
C9  core/test_actions::a_lock_is_released_when_its_action_raises
C10 core/test_locks::several_locks_in_opposite_order_do_not_block
C11 core/test_prefetch_ends::a_slow_consumer_meets_no_more_batches_than_were_asked_for
C12 core/test_prefetch_ends::300_runs_that_break_leave_threads_and_files_as_they_were
C13 core/test_interrupts::the_interpreter_ends_with_a_run_open
C14 core/test_interrupts::ctrl_c_at_any_moment core/test_checkpoints::the_same_run_again_goes_on
D1  core/test_archive_hostile::killed_in_the_middle_of_a_save
D2  faults/test_faults_saving::a_full_disk_leaves_the_saved_model_and_names_its_path
    faults/test_faults_saving::a_full_disk_leaves_the_last_checkpoint_and_the_run_can_go_on
D3  faults/test_faults_saving::a_path_that_cannot_be_written_is_named_and_nothing_is_lost
    faults/test_faults_saving::no_permission_is_said_with_the_path
    faults/test_faults_saving::a_saved_model_that_is_removed_while_it_is_loaded
D4  core/test_checkpoints::stopped_twice_it_goes_on_twice
    sklearn/test_sklearn_resume::a_killed_run_goes_on_to_the_bit
    xgboost/test_xgboost_resume::a_killed_run_goes_on_to_the_bit
    tf/test_tf_resume::a_killed_run_goes_on_to_the_bit
D5  sklearn/test_sklearn_resume::wherever_it_was_stopped
    xgboost/test_xgboost_resume::wherever_it_was_stopped
    tf/test_tf_resume::wherever_it_was_stopped
D6  faults/test_faults_saving::what_differs_from_the_checkpoint_is_all_listed
D7  faults/test_faults_saving::damage_to_a_checkpoint_is_found_before_a_model_sees_it
D8  faults/test_faults_saving::checkpoints_are_of_committed_batches_only
D9  core/test_archive_hostile::two_processes_save_to_one_path
D10 core/test_archive_hostile::a_newer_format_names_both_versions
D11 core/test_archive_roundtrip::a_model_that_was_never_built_is_not_saved
    sklearn/test_sklearn_files::an_unknown_format
D12 xgboost/test_xgboost_files::in_another_process
    tf/test_tf_files::training_goes_on_in_another_process_as_if_there_had_been_no_stop
E1  sklearn/test_sklearn_files::a_pickle_is_loaded_only_for_those_who_ask
E2  sklearn/test_sklearn_files::a_pickle_in_the_place_of_a_skops_file_is_not_run
    faults/test_faults_hostile_checkpoints::an_estimator_is_not_unpickled
    faults/test_faults_hostile_checkpoints::pickled_arrays_are_not_unpickled
E3  sklearn/test_sklearn_trees::a_type_that_nobody_trusts
    faults/test_faults_hostile_checkpoints::types_that_the_definition_does_not_bring_are_refused
E4  tf/test_tf_files::a_file_with_code_in_it_is_refused_and_its_code_does_not_run
    faults/test_faults_hostile_checkpoints::a_checkpoint_brings_no_layers_with_code
E5  core/test_archive_hostile::a_member_with_an_unsafe_name core/test_archive_hostile::a_pipe_does_not_block
    core/test_archive_hostile::a_member_that_is_no_file
    faults/test_faults_hostile_checkpoints::members_stay_inside
E6  core/test_archive_hostile::a_size_that_is_claimed_and_not_there
    core/test_archive_hostile::compressed_members_are_refused_unread
    faults/test_faults_hostile_checkpoints::what_is_no_plain_data_is_damage
E7  core/test_archive_hostile::a_dotted_path_in_the_file_is_never_imported
    core/test_archive_roundtrip::a_file_from_an_absent_package_names_the_package
E8  core/test_archive_hostile::four_hundred_mutated_files
    core/test_archive_hostile::four_hundred_mutated_manifests
    xgboost/test_xgboost_files::crafted_trees_are_refused_before_they_crash
E9  core/test_registry::an_import_that_fails_says_whose_it_is
    core/test_models_hooks::a_broken_plugin_is_named_and_the_others_act
E10 core/test_registry::two_owners_are_an_error_only_for_who_asks
E11 core/test_registry::a_package_for_another_core_is_named_before_it_is_imported
E12 core/test_registry::what_is_no_model_is_refused_when_it_is_asked_for
    core/test_models_handle::half_a_model_is_refused_at_once
E13 core/test_registry::a_known_backend_that_is_absent
E14 core/test_registry::switched_off_by_the_environment_before_any_import
E15 faults/test_faults_imports::an_import_leaves_random_state_and_warnings_alone
G1  faults/test_faults_threads::16_threads_change_a_variable
G2  faults/test_faults_threads::16_threads_train_one_model
G3  faults/test_faults_threads::8_threads_use_a_dynamic_model_for_the_first_time
G4  core/test_registry::many_threads_get_one_class
G5  faults/test_faults_threads::a_model_is_saved_whole_while_it_is_trained
"""

OPEN = {
    "B5": "a global generator that an action draws from is not watched",
    "C8": "SIGTERM ends the process as Python lets it; the last checkpoint is what remains",
    "G6": "no interpreter without the global lock runs the tests",
}
"""Rows without a test, and what holds instead."""

SIZES = {"A": 25, "B": 10, "C": 14, "D": 12, "E": 15, "G": 6}


def rows() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in MATRIX.strip().splitlines():
        words = line.split()
        if not line.startswith(" "):
            found[row := words.pop(0)] = []
        found[row] += words
    return found


@cache
def names_of_tests(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name.removeprefix("test_")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_every_row_is_there_once() -> None:
    wanted = {f"{letter}{at}" for letter, most in SIZES.items() for at in range(1, most + 1)}
    assert set(rows()) | set(OPEN) == wanted
    assert not set(rows()) & set(OPEN)


@pytest.mark.parametrize("row", rows())
def test_the_tests_of_a_row_exist(row: str) -> None:
    for each in rows()[row]:
        module, name = each.split("::")
        assert name in names_of_tests(TESTS / f"{module}.py"), f"{row}: there is no test {each}"


def promises() -> list[str]:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    return re.findall(r"`tests/([\w/]+)\.py::test_(\w+)`", page)


def test_the_tests_of_the_promises_exist() -> None:
    assert len(promises()) > 20
    for module, name in promises():
        assert name in names_of_tests(TESTS / f"{module}.py"), (
            f"docs/faults.md: no test {module}::{name}"
        )


def test_every_promise_names_a_test() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    items = re.split(r"^- ", page, flags=re.M)[1:]
    assert [each for each in items if "::test_" not in each] == []
