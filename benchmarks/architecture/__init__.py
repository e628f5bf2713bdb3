"""Which change of architecture learns more per step, from the start of `bin/train-gpu a`.

python -m benchmarks.architecture rows base grid attention ... --data DATA/photos --out F
python -m benchmarks.architecture lettering --data DATA/photos --fonts FONTS --serif FILE --out F
"""
