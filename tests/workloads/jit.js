// jit.js MS: spends that much CPU time in six functions, the n-th of them n times as long as the first
// in each round, and prints each one's CPU time in µs, as the process's own account tells it.
'use strict';
const os = require('os');
try {
    os.setPriority(-20);
} catch (error) {
    console.error(error.message);
}

// Alike and not the same: an optimizer keeps six callees of one call apart.
function one(n) { let s = 1; for (let i = 0; i < n; i++) s = (s * 31 + i) | 0; return s; }
function two(n) { let s = 2; for (let i = 0; i < n; i++) s = (s * 33 + i) | 0; return s; }
function three(n) { let s = 3; for (let i = 0; i < n; i++) s = (s * 35 + i) | 0; return s; }
function four(n) { let s = 4; for (let i = 0; i < n; i++) s = (s * 37 + i) | 0; return s; }
function five(n) { let s = 5; for (let i = 0; i < n; i++) s = (s * 39 + i) | 0; return s; }
function six(n) { let s = 6; for (let i = 0; i < n; i++) s = (s * 41 + i) | 0; return s; }

function now() {
    const usage = process.cpuUsage();
    return usage.user + usage.system;
}

const functions = [one, two, three, four, five, six];
const spent = functions.map(() => 0);
const end = now() + 1000 * Number(process.argv[2]);
let sum = 0;
while (now() < end) {
    for (let index = 0; index < functions.length; index++) {
        const begin = now();
        const stop = begin + 2000 * (index + 1);
        while (now() < stop)
            sum ^= functions[index](100000);
        spent[index] += now() - begin;
    }
}
functions.forEach((f, index) => console.log(f.name, spent[index]));
if (sum === 0.5)
    console.log(sum);
