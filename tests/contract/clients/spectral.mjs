// Spectral's rules for OpenAPI and for OWASP's API Security Top 10, each exception with its reason.
import owasp from "@stoplight/spectral-owasp-ruleset";
import { oas } from "@stoplight/spectral-rulesets";

// Limits guard the server: they are asked of what it reads, not of its answers. A UUID and a time
// have their length by their format, a file that of the body; `q` and `map` take any text.
const short = '@.format != "uuid" && @.format != "date-time" && @.format != "binary"';
const read = (type) => [
  `$.paths[*][*].parameters[?(@.in == "query" && @.name != "q" && @.name != "map")][?(@property == "schema" && @.type == "${type}" && ${short})]`,
  `$.paths[*][*].requestBody.content[*].schema.properties[?(@.type == "${type}" && ${short})]`,
];
const only = (given, ...names) =>
  Object.fromEntries(names.map((name) => [name, { ...owasp.rules[name], given }]));

export default {
  extends: [oas, owasp],
  rules: {
    ...only(read("string"), "owasp:api4:2023-string-limit", "owasp:api4:2023-string-restricted"),
    ...only(read("integer"), "owasp:api4:2023-integer-limit"),
    // Of an operation that takes no token there is no 401, of one that reads nothing no 422.
    ...only(
      "$.paths[*][?(@.security && @.security.length)].responses",
      "owasp:api8:2023-define-error-responses-401",
    ),
    ...only(
      "$.paths[*][?(@.requestBody)].responses",
      "owasp:api8:2023-define-error-validation",
    ),
    // Not every operation is limited; test_golden.py asks for the fields where one is.
    "owasp:api4:2023-rate-limit": "off",
    "owasp:api4:2023-rate-limit-responses-429": "off",
    // 500 is a defect, and never an answer to something that a client sends.
    "owasp:api8:2023-define-error-responses-500": "off",
    // CORS is off unless the operator names origins, and then it is the same for all answers.
    "owasp:api8:2023-define-cors-origin": "off",
    // The document is that of every installation: it knows neither its operator nor its environment.
    "info-contact": "off",
    "owasp:api9:2023-inventory-access": "off",
    "owasp:api9:2023-inventory-environment": "off",
    // Released as /books/; both forms answer.
    "path-keys-no-trailing-slash": "off",
  },
  overrides: ["signup", "login", "password-reset"].map((name) => ({
    // Who has no token gets one here.
    files: [`**#/paths/~1api~1v1.0.0~1auth~1${name}/post`],
    rules: { "owasp:api2:2023-write-restricted": "off" },
  })),
};
