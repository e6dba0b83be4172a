"""The objects of a chart in this folder, as JSON. Values that are set come from standard input, as JSON."""

import json
import sys

import yaml
from helm_python import Chart

with Chart.load(sys.argv[1]) as chart:
    files = chart.render(json.load(sys.stdin), name="test")
objects = [document for text in files.values() for document in yaml.safe_load_all(text)]
json.dump([document for document in objects if document], sys.stdout)
