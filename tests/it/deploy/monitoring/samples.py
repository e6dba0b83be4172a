"""The samples of OpenMetrics' text format from standard input, as JSON. The parser refuses what breaks the format."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

samples = [
    {
        "name": sample.name,
        "labels": sample.labels,
        "value": sample.value,
        "exemplar": sample.exemplar and {"labels": sample.exemplar.labels, "value": sample.exemplar.value},
    }
    for family in text_string_to_metric_families(sys.stdin.read())
    for sample in family.samples
]
json.dump(samples, sys.stdout)
