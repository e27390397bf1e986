"""What every method is held to, and by which tests: the data of docs/methods.md.

A test is named by file and function, ``file.py::function``, and by a start of its parameters where
it has several methods, ``file.py::function[gls-``.
"""

from __future__ import annotations

from dataclasses import dataclass

TORCHJD = "TorchJD"


@dataclass(frozen=True)
class Oracle:
    """Something independent that says what a method should give.

    Attributes:
        what: in words.
        tests: those whose largest relative error is shown.
        also: those that hold the method to it without an error that means something: they compare
            inequalities, printed digits, or with what stops early.
        because: what the error is owed to, where it is not rounding in float64.
    """

    what: str
    tests: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    because: str = ""

    @property
    def is_torchjd(self) -> bool:
        return self.what.startswith(TORCHJD)


@dataclass(frozen=True)
class Row:
    """A method's paper, in short, and its oracles."""

    paper: str
    oracles: tuple[Oracle, ...]


def _row(paper: str, *oracles: Oracle) -> Row:
    return Row(paper, oracles)


def _of(file: str, names: str) -> tuple[str, ...]:
    return tuple(f"test_{file}.py::test_{name}" for name in names.split())


def by_hand(file: str, names: str, also: str = "", because: str = "") -> Oracle:
    return Oracle("worked examples by hand", _of(file, names), _of(file, also), because)


def written(name: str, what: str = "autograd on the written loss") -> Oracle:
    function = "the_network_moves_as_autograd_on_the_written_loss_moves_it"
    return Oracle(what, _of("loss_methods", f"{function}[{name}-"))


LOSSES, GRAMIAN, FAIR, SURGERY = "loss_methods", "gradient_methods", "fair_gradients", "gradient_surgery"  # fmt: skip
NORM, ROTO, FAMILY = "gradnorm", "rotograd", "rotograd_family"
PRINTED = "digits printed"
SINGLE = "its first state is in float32"

ROWS: dict[str, Row] = {
    "adversarial": _row(
        "baseline of the RotoGrad submission, after Maninis et al., CVPR 2019",
        Oracle(
            "autograd twice through a gradient-reversal layer",
            _of("adversarial", "the_whole_network_by_autograd"),
            because="guards of a division differ",
        ),
        by_hand("adversarial", "a_step_by_hand", because="guards of a division differ"),
        Oracle(
            "the printed schedule of the reversal",
            also=_of("adversarial", "the_reversal_grows_over_the_epochs"),
        ),
    ),
    "aligned_mtl": _row(
        "Senushkin et al., CVPR 2023, arXiv 2305.19000",
        Oracle(
            "polar decomposition of the Jacobian by SciPy",
            _of(GRAMIAN, "aligned_mtl_makes_singular_values_equal"),
        ),
    ),
    "avg_norm": _row(
        "arXiv 2509.23915",
        by_hand(
            FAMILY,
            "weights_of_avg_norm_by_hand four_tasks_of_one_norm",
            also="where_gradients_cancel_the_step_shrinks",
            because="its ε of 1e-8",
        ),
        Oracle(
            "all weighted gradients have one norm",
            _of(FAMILY, "all_weighted_gradients_have_one_norm_at_the_last_layer"),
            because="its ε of 1e-8",
        ),
    ),
    "cagrad": _row(
        "Liu et al., NeurIPS 2021, arXiv 2110.14048",
        Oracle(
            "primal and dual value against SciPy's SLSQP",
            _of(GRAMIAN, "cagrad_reaches_its_dual"),
            because="in units of the mean gradient; its solver stops early",
        ),
        by_hand(GRAMIAN, "cagrad_by_hand cagrad_goes_on_when_one_task_has_no_gradient"),
    ),
    "config": _row(
        "Liu, Chu and Thuerey, ICLR 2025, arXiv 2408.11104",
        Oracle("one cosine with every gradient", _of(GRAMIAN, "config_has_one_cosine_with_all")),
        Oracle(TORCHJD, _of(GRAMIAN, "config_is_torchjds")),
        by_hand(GRAMIAN, "config_by_hand"),
    ),
    "cosmos": _row(
        "Ruchte and Grabocka, ICDM 2021, arXiv 2103.13392",
        written("cosmos"),
        Oracle(f"{TORCHJD}'s objective by autograd", _of(LOSSES, "cosmos_is_torchjds")),
        by_hand(LOSSES, "cosmos_by_hand"),
    ),
    "d_grad": _row(
        "baseline of the RotoGrad submission, after Yu et al.",
        Oracle(
            "autograd on the losses through the maps",
            _of(FAMILY, "gradients_of_the_maps_are_those_of_the_losses"),
            also=_of(FAMILY, "the_networks_optimizer_moves_the_maps"),
        ),
        by_hand(FAMILY, "gradients_of_the_maps_by_hand"),
    ),
    "db_mtl": _row(
        "Lin et al., arXiv 2308.12029",
        Oracle(
            "Algorithm 1 by autograd, a pass of the whole network a task",
            _of("db_mtl", "algorithm_1_with_one_backward_pass_a_task"),
        ),
        Oracle(
            "at the representation: autograd from Z on, a graph a task",
            _of("db_mtl", "at_the_representation_with_a_graph_a_task"),
        ),
        by_hand(
            "db_mtl",
            "a_step_by_hand the_average_has_no_bias_correction "
            "beta_falls_with_the_root_of_the_step the_halves_and_the_scales "
            "two_steps_at_the_representation_by_hand",
        ),
    ),
    "deepchest": _row(
        "Mohamed et al., arXiv 2505.23595",
        Oracle(
            "vectors worked out from the authors' code",
            _of("deepchest", "the_published_vectors"),
            also=_of("deepchest", "a_losing_loss_grows_and_a_stagnating_one_too"),
            because=PRINTED,
        ),
        Oracle(
            "fourteen epochs simulated without the method",
            also=_of("deepchest", "at_the_majority_rate_the_frequent_findings_win"),
        ),
    ),
    "dualproj": _row(
        "Lopez-Paz and Ranzato, NeurIPS 2017, arXiv 1706.08840",
        Oracle(
            "projection by SciPy's non-negative least squares",
            _of(GRAMIAN, "dualproj_is_the_projection_of_the_mean"),
            because="the least regularisation",
        ),
        Oracle(
            "conditions of the minimum",
            also=_of(GRAMIAN, "dualproj_fulfils_the_conditions_of_the_minimum"),
        ),
        by_hand(GRAMIAN, "the_cone_by_hand"),
    ),
    "dwa": _row(
        "Liu, Johns and Davison, CVPR 2019, arXiv 1803.10704",
        written("dwa", "autograd on the weighted loss"),
        by_hand(LOSSES, "dwa_by_hand", also="dwa_gives_a_solved_task_the_rate_one"),
    ),
    "excess_mtl": _row(
        "He et al., ICML 2024, arXiv 2402.02009",
        Oracle(
            "its equations by autograd, task by task",
            _of("excess_mtl", "the_network_moves_as_its_equations_say"),
            because=SINGLE,
        ),
        by_hand(
            "excess_mtl",
            "two_steps_by_hand a_task_that_starts_without_gradient_is_measured_from_its_first",
            because="its 1e-7 inside the root",
        ),
    ),
    "fairgrad": _row(
        "Ban and Ji, ICML 2024, arXiv 2402.15638",
        Oracle("residual of its equation", _of(FAIR, "fairgrad_solves_its_equation")),
        Oracle(
            "closed form for orthogonal gradients", _of(FAIR, "fairgrad_of_orthogonal_gradients")
        ),
        Oracle(f"{TORCHJD}, as near as its solver comes", also=_of(FAIR, "fairgrad_is_torchjds")),
    ),
    "famo": _row(
        "Liu et al., NeurIPS 2023, arXiv 2306.03792",
        written("famo", "autograd on the written loss, logits by torch's Adam"),
        by_hand(
            LOSSES,
            "famo_by_hand famo_measures_losses_from_their_lower_bounds",
            because="its ε of 1e-8",
        ),
    ),
    "gls": _row(
        "Chennupati et al., CVPR workshops 2019, arXiv 1904.08492",
        written("gls"),
        by_hand(LOSSES, "gls_by_hand", also="gls_neither_under_nor_overflows"),
    ),
    "graddrop": _row(
        "Chen et al., NeurIPS 2020, arXiv 2010.06808",
        Oracle(f"{TORCHJD}, given the same draws", _of(SURGERY, "graddrop_is_torchjds")),
        by_hand(SURGERY, "graddrop_by_hand graddrop_decides_for_a_batch"),
    ),
    "gradnorm": _row(
        "Chen et al., ICML 2018, as in the RotoGrad submission",
        Oracle(
            "transcription in numpy, sixty steps, at Z and at the last layer",
            _of(
                NORM,
                "sixty_steps_agree_with_the_transcription sixty_steps_at_the_last_shared_layer",
            ),
        ),
        by_hand(
            NORM,
            "z_and_w_differ_where_items_cancel_by_hand "
            "a_step_towards_the_mean_of_norms_by_hand a_weight_never_reaches_zero_by_hand "
            "the_rate_decays_by_iteration_or_by_epoch",
            also="two_steps_of_sgd_by_hand a_step_of_adam_by_hand",
        ),
    ),
    "gradnorm_deepchest": _row(
        "Mohamed et al., arXiv 2505.23595, their code",
        Oracle(
            "transcription in numpy, three epochs",
            _of(FAMILY, "deepchests_gradnorm_agrees_with_a_transcription"),
        ),
        by_hand(FAMILY, "a_step_of_deepchests_gradnorm_by_hand", because=PRINTED),
    ),
    "gradvac": _row(
        "Wang et al., ICLR 2021, arXiv 2010.05874",
        Oracle(
            f"{TORCHJD}, given the same orders, six steps",
            _of(SURGERY, "gradvac_is_torchjds_step_after_step"),
        ),
        Oracle(
            "the target cosine of two tasks",
            _of(SURGERY, "gradvac_brings_the_cosine_to_its_target"),
        ),
        by_hand(SURGERY, "gradvac_leaves_out_a_task_without_gradient"),
    ),
    "igb": _row(
        "Dai, Fei and Lu, UAI 2023, arXiv 2307.15429",
        written("igb"),
        by_hand(LOSSES, "igb_by_hand"),
    ),
    "igb_v2": _row(
        "Dai, Fei and Lu, UAI 2023, arXiv 2307.15429",
        Oracle(
            "an agent of torch's modules, autograd and Adam, eleven updates",
            _of("igb_v2", "the_agent_learns_and_acts_as_torchs_own"),
        ),
        by_hand(
            "igb_v2",
            "two_transitions_by_hand the_first_weights_are_random_by_hand",
            because="numbers drawn in float32",
        ),
    ),
    "imtl": _row(
        "Liu et al., ICLR 2021, OpenReview IMPnRXEWpvr",
        Oracle(
            "equal projections; scales by autograd",
            _of(GRAMIAN, "imtl_descends_its_scaled_losses"),
        ),
        by_hand(GRAMIAN, "imtl_of_two_tasks_by_hand"),
    ),
    "imtl_g": _row(
        "Liu et al., ICLR 2021, OpenReview IMPnRXEWpvr",
        Oracle("equal projections", _of(GRAMIAN, "imtl_g_projects_equally")),
        Oracle("closed form for two tasks", _of(GRAMIAN, "imtl_g_of_two_tasks")),
    ),
    "imtl_l": _row(
        "Liu et al., ICLR 2021, OpenReview IMPnRXEWpvr",
        written("imtl_l"),
        by_hand(LOSSES, "imtl_l_by_hand"),
    ),
    "metabalance": _row(
        "He et al., WWW 2022, arXiv 2203.06801",
        Oracle(
            "Algorithm 1, one loss and one tensor after the other",
            _of("metabalance", "the_network_moves_as_the_algorithm_says"),
        ),
        by_hand("metabalance", "a_step_by_hand norms_are_followed"),
    ),
    "mgda": _row(
        "Sener and Koltun, NeurIPS 2018, arXiv 1810.04650",
        Oracle("closed form for two tasks", _of(GRAMIAN, "mgda_of_two_tasks")),
        Oracle(
            "conditions of the minimum",
            also=_of(GRAMIAN, "mgda_fulfils_the_conditions_of_the_minimum"),
        ),
        by_hand(GRAMIAN, "mgda_of_normalised_gradients_by_hand"),
        Oracle(
            f"{TORCHJD}'s search, never below",
            also=_of(GRAMIAN, "mgda_is_never_longer_than_what_frank_wolfe_finds"),
        ),
    ),
    "moco": _row(
        "Fernando et al., ICLR 2023, arXiv 2210.12624",
        Oracle(
            "its equations by autograd, task by task",
            _of("moco", "the_network_moves_as_its_equations_say"),
        ),
        Oracle(
            "projection by SciPy's SLSQP",
            also=_of("moco", "the_projection_is_the_nearest_point_of_the_simplex"),
        ),
        by_hand("moco", "a_step_by_hand", because="its ε of 1e-8"),
    ),
    "mtadam": _row(
        "Malkiel and Wolf, EMNLP 2021, arXiv 2006.14683",
        Oracle("torch's Adam, for one task", _of("mtadam", "with_one_task_it_is_adam")),
        Oracle(
            "its algorithm, one loss and one tensor after the other",
            _of("mtadam", "the_network_moves_as_the_algorithm_says"),
        ),
        by_hand("mtadam", "a_step_by_hand", because="its ε of 1e-8"),
    ),
    "nash_mtl": _row(
        "Navon et al., ICML 2022, arXiv 2202.01017",
        Oracle("residual of its equation", _of(FAIR, "nash_mtl_solves_its_equation")),
        Oracle("closed form for two tasks", _of(FAIR, "nash_mtl_of_two_tasks")),
        by_hand(FAIR, "nash_mtl_as_the_public_code_has_it"),
        Oracle(f"{TORCHJD}, as near as its solver comes", also=_of(FAIR, "nash_mtl_is_torchjds")),
    ),
    "pbi": _row(
        "Zhang and Li, IEEE Trans. Evolutionary Computation 2007",
        written("pbi"),
        Oracle(f"{TORCHJD}'s objective by autograd", _of(LOSSES, "pbi_is_torchjds")),
        by_hand(LOSSES, "pbi_by_hand"),
    ),
    "pcd": _row(
        "Varam and AlHajri, TMLR 2026, arXiv 2606.29521",
        Oracle(f"{TORCHJD}, four steps", _of(FAIR, "pcd_is_torchjds_step_after_step")),
        by_hand(FAIR, "pcd_of_two_tasks_by_hand pcd_drops_promises_that_exclude_each_other"),
    ),
    "pcgrad": _row(
        "Yu et al., NeurIPS 2020, arXiv 2001.06782",
        Oracle("Algorithm 1 on the vectors themselves", _of(SURGERY, "pcgrad_is_algorithm_1")),
        Oracle(f"{TORCHJD}, given the same orders", _of(SURGERY, "pcgrad_is_torchjds")),
        Oracle("closed form for two tasks", _of(SURGERY, "pcgrad_of_two_tasks")),
    ),
    "rgw": _row(
        "Lin et al., TMLR 2022, arXiv 2111.10603",
        Oracle(f"{TORCHJD}, given the same draws", _of(SURGERY, "random_weights_are_torchjds")),
    ),
    "rlw": _row(
        "Lin et al., TMLR 2022, arXiv 2111.10603",
        written("rlw", "autograd on the weighted loss, given the same draws"),
        by_hand(LOSSES, "rlw_by_hand"),
        Oracle(
            "moments of the distributions",
            also=_of(LOSSES, "rlw_has_the_moments_of_its_distribution"),
        ),
    ),
    "rotograd": _row(
        "RotoGrad, ICLR 2021 submission",
        Oracle(
            "rotations: SciPy's Procrustes solution and polar factor",
            _of(
                ROTO,
                "it_is_scipys_solution_of_the_procrustes_problem polar_is_scipys_factor",
            ),
            also=_of(ROTO, "no_rotation_does_better proximal_is_the_nearest_of_all_minimisers"),
        ),
        Oracle(
            "heads with one output: a formula without SVD, in numpy",
            _of(FAMILY, "a_turn_in_one_plane_is_the_published_formula"),
            also=_of(ROTO, "the_step_of_a_regression_head_is_the_shortcut_for_rank_one"),
        ),
        Oracle(
            "the whole network, transcribed in numpy, 25 steps, both translations",
            _of("rotograd_whole", "a_training_is_that_of_the_transcription"),
        ),
        by_hand("rotograd_whole", "a_step_of_both_translations_by_hand"),
        Oracle(
            "a step in the plane by hand",
            _of(ROTO, "a_step_is_the_projection_of_the_straight_way"),
        ),
        Oracle("means by hand", _of(ROTO, "means_follow_the_batch_at_the_rate_of_the_leader")),
        Oracle("weights: `gradnorm`", _of(ROTO, "weights_are_those_of_gradnorm")),
        Oracle(
            "a label and its negation are both learned",
            also=_of("negation", "rotograd_learns_both"),
        ),
    ),
    "rotograd_library": _row(
        "Javaloy and Valera, ICLR 2022, PyPI rotograd 0.1.6",
        Oracle(
            "the authors' library, six steps",
            _of(FAMILY, "six_steps_agree_with_the_authors_library"),
            because=PRINTED,
        ),
        Oracle(
            "transcription in numpy and SciPy, forty steps",
            _of(FAMILY, "forty_steps_of_the_library_agree_with_a_transcription"),
        ),
        by_hand(FAMILY, "a_step_of_the_library_by_hand", because="Adam's ε of 1e-8"),
    ),
    "rotograd_sgd": _row(
        "comparison of the RotoGrad submission",
        Oracle(
            "autograd on Eq. 8, SciPy's polar factor",
            _of(FAMILY, "the_step_follows_the_derivative_of_the_objective"),
        ),
        Oracle(
            "transcription in numpy, thirty steps",
            _of(FAMILY, "thirty_steps_of_rotograd_sgd_agree_with_a_transcription"),
        ),
        by_hand(FAMILY, "a_gradient_step_of_the_rotations_by_hand"),
    ),
    "scale_invariant": _row(
        "baseline of Navon et al., ICML 2022, arXiv 2202.01017",
        written("scale_invariant"),
        Oracle(
            "the first half of `db_mtl`",
            _of(LOSSES, "scale_invariant_is_the_first_half_of_db_mtl"),
        ),
        by_hand(LOSSES, "scale_invariant_by_hand"),
    ),
    "stch": _row(
        "Lin et al., ICML 2024, arXiv 2402.19078",
        written("stch"),
        by_hand(LOSSES, "stch_by_hand"),
    ),
    "fixed": _row(
        "baseline of arXiv 2509.23915 and others, with its weights searched",
        Oracle(
            "autograd on the weighted sum of the losses",
            _of(LOSSES, "fixed_descends_the_weighted_sum_of_the_losses"),
        ),
    ),
    "uniform": _row(
        "baseline of all",
        Oracle(
            "autograd on the sum of the losses",
            _of(LOSSES, "uniform_descends_the_sum_of_the_losses"),
        ),
    ),
    "upgrad": _row(
        "Quinton and Rey, arXiv 2406.16232",
        Oracle(
            "projections by SciPy's non-negative least squares",
            _of(GRAMIAN, "upgrad_is_the_mean_of_the_projections"),
            because="the least regularisation",
        ),
        by_hand(GRAMIAN, "the_cone_by_hand smoothed_weights_by_hand"),
        Oracle(
            f"{TORCHJD}'s CR-MOGM, five steps with `smoothing`",
            _of(GRAMIAN, "smoothed_weights_are_torchjds"),
        ),
    ),
    "uw": _row(
        "Kendall, Gal and Cipolla, CVPR 2018, arXiv 1705.07115",
        written("uw"),
        by_hand(LOSSES, "uw_by_hand uw_in_the_public_form", because=SINGLE),
    ),
}

LEFT_OUT: dict[str, str] = {
    "MOML, FORUM, AutoLambda": "bilevel: an outer loss, on data of its own, decides the weights "
    "through a copy of the network at every step.",
    "MoDo, SDMGrad": "several independent batches a step. A step here has one batch.",
    "DTP (dynamic task prioritisation)": "each task needs a key performance indicator of its own.",
    "URL (universal representations)": "distillation from one trained network a task.",
    "MTAN": "a network, not a weighting.",
    "Krum, TrimmedMean": "take the rows for copies of one gradient, of which some are forged, and "
    "drop the odd ones. Those of tasks are odd by right: a task that is dropped is not learned.",
}

TORCHJD_HAS: dict[str, str] = {
    "aggregation.AlignedMTL": "aligned_mtl",
    "aggregation.CAGrad": "cagrad",
    "aggregation.ConFIG": "config",
    "aggregation.Constant": "fixed",
    "aggregation.CRMOGM": "upgrad.smoothing",
    "aggregation.DualProj": "dualproj",
    "aggregation.ExcessMTL": "excess_mtl",
    "aggregation.FairGrad": "fairgrad",
    "aggregation.GradDrop": "graddrop",
    "aggregation.GradVac": "gradvac",
    "aggregation.IMTLG": "imtl_g",
    "aggregation.Krum": "",
    "aggregation.Mean": "fixed",
    "aggregation.MGDA": "mgda",
    "aggregation.MoDo": "",
    "aggregation.NashMTL": "nash_mtl",
    "aggregation.PCD": "pcd",
    "aggregation.PCGrad": "pcgrad",
    "aggregation.Random": "rgw",
    "aggregation.SDMGrad": "",
    "aggregation.Sum": "uniform",
    "aggregation.TrimmedMean": "",
    "aggregation.UPGrad": "upgrad",
    "scalarization.Constant": "fixed",
    "scalarization.COSMOS": "cosmos",
    "scalarization.DWA": "dwa",
    "scalarization.FAMO": "famo",
    "scalarization.GeometricMean": "gls",
    "scalarization.IMTLL": "imtl_l",
    "scalarization.Mean": "fixed",
    "scalarization.PBI": "pbi",
    "scalarization.Random": "rlw",
    "scalarization.STCH": "stch",
    "scalarization.Sum": "uniform",
    "scalarization.UW": "uw",
}
"""What TorchJD 0.18 offers, without the word Weighting: our method, or one of its options after a
dot; empty for what is left out."""

LIBMTL_HAS: dict[str, str] = {
    "EW": "uniform",
    "UW": "uw",
    "DWA": "dwa",
    "RLW": "rlw",
    "RGW": "rgw",
    "GLS": "gls",
    "STCH": "stch",
    "FAMO": "famo",
    "GradNorm": "gradnorm",
    "MGDA": "mgda",
    "PCGrad": "pcgrad",
    "GradVac": "gradvac",
    "CAGrad": "cagrad",
    "IMTL": "imtl",
    "GradDrop": "graddrop",
    "Nash_MTL": "nash_mtl",
    "MoCo": "moco",
    "Aligned_MTL": "aligned_mtl",
    "ExcessMTL": "excess_mtl",
    "FairGrad": "fairgrad",
    "UPGrad": "upgrad",
    "DB_MTL": "db_mtl",
    "MoDo": "",
    "SDMGrad": "",
    "MOML": "",
    "FORUM": "",
    "AutoLambda": "",
}
"""The same of LibMTL at commit 4336804 (2025-05-14)."""
