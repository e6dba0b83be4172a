"""A YAML document from standard input as JSON, as the library reads it that Kubernetes and Helm use."""

import json
import sys

from helm_python import chart

json.dump(chart.values_from_yaml(sys.stdin.read()), sys.stdout)
