"""Every sentence of the user's document on models that promises something, held to its word.

=======================================================================  ===================================
sentence                                                                 test
=======================================================================  ===================================
*Model class*: You can use standard models or write your own models      standard_models_and_own_ones
*Model types*: A static model is created when the pipeline is created    static_is_made_at_once
the [static] model might have an access to the pipeline, its config [..  static_sees_the_pipeline
A dynamic model is created [...] when some action uses the model         dynamic_is_made_at_its_first_use
the model has an access to the pipeline and the very first batch         dynamic_sees_the_first_batch
creating models adapting to shapes and data sizes                        dynamic_adapts_to_shapes
*Adding*: a mode (`static` or `dynamic`)                                 a_mode_is_static_or_dynamic
otherwise, a class name will be used                                     default_name_is_the_class_name
an optional configuration                                                configuration_is_optional
already created in another pipeline, it might be imported                imported_at_run
*Configuring*: `build` - whether to call `model.build`, default True     build
`load` - whether to load a model, default False                          load
Loading usually requires [...] paths                                     load_needs_a_path
For some models only one of `build` or `load` can be True                either_built_or_loaded
other models might need a building phase even if a model is loaded       built_and_loaded
*Training*: stated below an initialization action                        training_stands_below_init
arguments might be specific to a particular model                        arguments_are_the_models_own
`make_data` - a function or method which takes [...] batch and a model   make_data
`save_to` - a batch component name or a pipeline variable name           save_to_component_or_variable
output of `model.train` (if there is any)                                no_output_is_not_stored
If both [...] exist, then a batch component will be used                 save_to_prefers_the_component
`append_to` - a pipeline variable name                                   append_to
If both (`save_to` and `append_to`) [...] only `append_to`               append_to_wins
You can also write an action which works with a model directly           action_with_model
*Predicting*: `predict_model` is very similar to `train_model`           predict_takes_what_train_takes
*Saving*: You can write a model [...] at any time                        save_at_any_time
all other arguments are model specific                                   save_arguments_are_the_models_own
`save_model` is imperative                                               save_is_imperative
it cannot be a part of a pipeline's chain of actions                     save_is_no_step
`save_model` is expected to be called in an action method or after       save_in_an_action
*Templates*: not linked to any dataset and thus it will never run        template_never_runs
It might be used as a building block                                     template_is_a_building_block
Linking a pipeline to a dataset creates a new pipeline                   linking_makes_a_new_pipeline
static model is created only once [...] used in each children pipeline   static_is_shared_by_children
a separate instance of a dynamic model [...] in each children pipeline   dynamic_is_separate_in_children
*Importing*: [when] run, the model [...] will be imported                imported_at_run
*Parallel*: your model hardly learns anything                            a_model_learns_under_prefetch
a lock [...] to allow for only one concurrent execution                  lock_allows_one_at_a_time
=======================================================================  ===================================
"""

from __future__ import annotations

import re
from pathlib import Path

PARTS = "making", "training", "keeping"  # the models: where the tests are


def test_every_test_of_the_table_is_there() -> None:
    rows = re.findall(r"  (\w+(?:, \w+)*)$", __doc__ or "", flags=re.M)
    named = {each for row in rows[1:] for each in row.split(", ")}
    texts = [Path(__file__).with_name(f"test_document_{each}.py").read_text() for each in PARTS]
    there = re.findall(r"^def test_(\w+)", "\n".join(texts), flags=re.M)
    assert {each for each in named if not any(one.startswith(each) for one in there)} == set()
