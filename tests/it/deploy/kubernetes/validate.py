"""Checks Kubernetes' own objects, a list in JSON from standard input, by the schemas of one version of Kubernetes."""

import json
import sys

import kubernetes_validate

wrong = []
for resource in json.load(sys.stdin):
    try:
        kubernetes_validate.validate(resource, sys.argv[1], strict=True)
    except kubernetes_validate.ValidationError as error:
        wrong.append(f"{resource['kind']}: {error}")
sys.exit("\n".join(wrong) or None)
