def written(under, outcomes):
    return ""
