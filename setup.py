"""Packaging of hrlrec_tf.

The ranges below fit both resolved sets in requirements/ (a test proves it); `make setup` installs from those locks.
"""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent

CORE = [
    "absl-py>=1.0",
    "apache-beam>=2.61,<3",
    "jinja2>=3.1,<4",
    "keras-tuner>=1.4.7,<1.5",
    "matplotlib>=3.10,<4",
    "google-crc32c>=1.5",
    "numpy>=1.26,<3",
    "packaging>=23",
    "pandas>=1.5.3,<3",
    "psutil>=5.9,<8",
    "pyarrow>=10,<19",
    "pyyaml>=6",
    "scikit-learn>=1.5,<2",
    "scipy>=1.12,<2",
    "setuptools<81",
    "tensorboard>=2.16,<3",
    "tensorflow>=2.16.2,<2.22",
    "tensorflow-metadata>=1.16.1,<1.22",
    "tensorflow-probability>=0.23,<0.24",
    "tensorflow-recommenders>=0.7.7,<0.8",
    "tensorflow-serving-api>=2.16.1,<2.22",
    "tensorflow-transform>=1.16,<1.22",
    "tf-agents>=0.19,<0.20",
    "tf-keras>=2.16,<2.22",
    "tfx-bsl>=1.16.1,<1.22",
    "tqdm>=4.66",
]
EXTRAS = {
    "pipeline": [
        "tensorflow-data-validation>=1.16.1,<1.22",
        "tensorflow-model-analysis>=0.47.1,<0.53",
        "tfx[kfp]>=1.16,<1.22",
    ],
    "serving": [
        "grpcio>=1.65,<2",
        "grpcio-health-checking>=1.48.2,<2",
        "grpcio-reflection>=1.48.2,<2",
        "prometheus-client>=0.20,<1",
        "tensorflow-serving-api>=2.16.1,<2.22",
    ],
    "dev": ["hypothesis>=6.100,<7", "pytest>=8", "pytest-timeout>=2.3", "pytest-xdist>=3.6,<4"],
}
VERBS = {
    "alarm": "tfx_pipeline.alarm:VERB",
    "benchmark": "hrlrec_tf.benchmark.verb:VERB",
    "compare": "hrlrec_tf.evaluation.verb:COMPARE",
    "convert": "hrlrec_tf.data.convert_verb:VERB",
    "daily": "tfx_pipeline.daily:VERB",
    "doctor": "hrlrec_tf.doctor:VERB",
    "evaluate": "hrlrec_tf.evaluation.verb:EVALUATE",
    "export": "hrlrec_tf.verbs:EXPORT",
    "forget": "hrlrec_tf.data.forget_verb:VERB",
    "join": "serving.feedback_verbs:JOIN",
    "prepare": "hrlrec_tf.data.verb:VERB",
    "quickstart": "tfx_pipeline.verb:VERB",
    "rank": "serving.verbs:RANK",
    "report": "hrlrec_tf.experiments.verb:VERB",
    "reproduce": "hrlrec_tf.experiments.reproduce_verb:VERB",
    "serve": "serving.verbs:SERVE",
    "simulate": "hrlrec_tf.simulator.verb:VERB",
    "train": "hrlrec_tf.verbs:TRAIN",
    "tune": "hrlrec_tf.tuning.verb:VERB",
    "user-states": "hrlrec_tf.data.user_states_verb:VERB",
}


def _version() -> str:
    match = re.search(r'__version__ = "(.+)"', (ROOT / "hrlrec_tf" / "version.py").read_text(encoding="utf-8"))
    if match is None:
        raise ValueError("hrlrec_tf/version.py states no __version__")
    return match.group(1)


def _description() -> str:
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.is_file() else ""


setuptools.setup(
    name="hrlrec_tf",
    version=_version(),
    description="Hierarchical reinforcement learning for integrated recommendation (HRL-Rec) on TensorFlow and TFX",
    long_description=_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    classifiers=[
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.10,<3.12",
    # Named explicitly so that an editable install puts the whole checkout on the path, packages added later included.
    package_dir={"": "."},
    packages=setuptools.find_packages(
        include=["hrlrec_tf", "hrlrec_tf.*", "tfx_pipeline", "tfx_pipeline.*", "serving", "serving.*"]
    ),
    package_data={
        "hrlrec_tf": ["**/*.yaml", "**/*.html.j2"],
        "serving": ["kit/*"],
        "tfx_pipeline": ["*.yaml", "kubernetes/*.yaml"],
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": ["hrlrec=hrlrec_tf.cli:main"],
        "hrlrec.verbs": [f"{name}={target}" for name, target in VERBS.items()],
    },
)
