"""What of identity runs several transactions or needs a port: hashing, signing, sealing."""
