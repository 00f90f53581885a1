"""What the operator and the sidecar agree on: the FeatureGroup model, policies, keys, values and the catalog.

Pure: no I/O, no clock. The operator and the sidecar meet nowhere else.
"""
