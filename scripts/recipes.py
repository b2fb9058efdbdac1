"""Measured recipes: which engine, at which settings, labels a material (seconds a configuration in experiments/)."""

SILICON = {
    "pseudopotentials": {"Si": "Si.pbe-rrkj.UPF"},
    "valence": {"Si": 4},
    "ecutwfc": 25.0,
    "conv_thr": {"pbe": 1e-8, "hse06": 1e-7},
}

RECIPES = {
    "silicon-hse06": ("espresso", {"levels": ["pbe", "hse06"], "empty": 1.0, "spare": 0, **SILICON}),
    "silicon-hse06-primitive": ("espresso", {"levels": ["pbe", "hse06"], "empty": 4.0, "spare": 1, **SILICON}),
    "silicon-pbe": ("espresso", {"levels": ["pbe"], "empty": 1.0, "spare": 0, **SILICON}),
}
