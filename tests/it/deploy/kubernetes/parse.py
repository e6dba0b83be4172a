"""YAML documents from standard input as a list in JSON, as a parser of YAML 1.1 reads them."""

import json
import sys

import yaml

json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)
