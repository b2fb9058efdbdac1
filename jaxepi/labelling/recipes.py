"""Measured recipes: which engine, at which settings, labels a material (seconds a configuration in experiments/)."""

SILICON = {
    "pseudopotentials": {"Si": "Si.pbe-rrkj.UPF"},
    "valence": {"Si": 4},
    "ecutwfc": 25.0,
    "conv_thr": {"pbe": 1e-8, "hse06": 1e-7},
    "timeout": 8 * 3600.0,
}
"""`timeout` is wall clock: a run beside more urgent ones may wait for hours."""

BOTH = {"levels": ["pbe", "hse06"], "empty": 1.0, "spare": 0, **SILICON}

FORCES = {"levels": ["pbe"], "empty": 0.0, "spare": 0, "eigenvalues": False, **SILICON, "conv_thr": {"pbe": 1e-6}}
"""No empty bands, conv_thr 1e-6 Ry: against 1e-8 Ry, forces of 64 atoms move by 0.3 meV/angstrom (root mean square)."""

GAAS = {
    "level": "r2scan",
    "xc": "MGGA_X_R2SCAN+MGGA_C_R2SCAN",
    "cutoff": 400.0,
    "valence": {"Ga": 3, "As": 5},
    "convergence": {"energy": 1e-6, "density": 1e-5, "eigenstates": 1e-8},
}

CARBON = {"level": "pbe-d3", "points": 12, "reach": 6.6, "width": 0.05, "convergence": {"density": 1e-6}}

RECIPES = {
    "silicon-hse06": ("espresso", BOTH),
    "silicon-hse06-primitive": ("espresso", {**BOTH, "empty": 4.0, "spare": 1}),
    "silicon-hse06-35ry": ("espresso", {**BOTH, "ecutwfc": 35.0}),
    "silicon-pbe": ("espresso", {**BOTH, "levels": ["pbe"]}),
    "silicon-pbe-forces": ("espresso", FORCES),
    "silicon-pbe-forces-35ry": ("espresso", {**FORCES, "ecutwfc": 35.0}),
    "gaas-r2scan": ("gpaw", {**GAAS, "empty": 1.0}),
    "gaas-r2scan-600ev": ("gpaw", {**GAAS, "empty": 1.0, "cutoff": 600.0}),
    "gaas-r2scan-primitive": ("gpaw", {**GAAS, "empty": 4.0}),
    "gaas-r2scan-forces": ("gpaw", {**GAAS, "empty": 0.5, "eigenvalues": False}),
    "carbon-lcao": ("gpaw-lcao", {**CARBON, "matrices": True}),
    "carbon-lcao-off-mesh": ("gpaw-lcao", {**CARBON, "matrices": True, "off_mesh": 4}),
    "carbon-lcao-fine": ("gpaw-lcao", {**CARBON, "matrices": False, "points": 16}),
    "carbon-lcao-finest": ("gpaw-lcao", {**CARBON, "matrices": False, "points": 24}),
    "carbon-lcao-forces": ("gpaw-lcao", {**CARBON, "matrices": False}),
}
