// Stands in for pgbench where there is none, a process of its own: runs orders.sql over `pg` and prints `tps = N` as pgbench does.
// It knows as much of pgbench's language as that file uses.
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import pg from 'pg'

type Variables = Record<string, unknown>
type Step = (client: pg.Client, variables: Variables) => Promise<unknown>

function parse(script: string): Step[] {
  const steps: Step[] = []
  let pipeline: string[] | undefined
  for (const line of script.split('\n')) {
    const [, name, low, high] = /^\\set (\w+) random\((\d+), (\d+)\)$/.exec(line) ?? []
    if (name) steps.push(async (_, variables) => (variables[name] = randomInt(Number(low), Number(high) + 1)))
    else if (line === '\\startpipeline') pipeline = []
    else if (line === '\\endpipeline') {
      const together = (pipeline as string[]).join('; ')
      steps.push(client => client.query(together))
      pipeline = undefined
    } else if (pipeline) pipeline.push(line.replace(/;$/, ''))
    else if (line !== '' && !line.startsWith('--')) steps.push(statement(`s${steps.length}`, line))
  }
  return steps
}

function statement(name: string, line: string): Step {
  const used: string[] = []
  const text = line.replace(/(;| \\gset)$/, '').replace(/(?<!:):([a-z_]+)/g, (_, variable) => `$${used.push(variable)}`)
  return async (client, variables) => {
    const { rows } = await client.query({ name, text, values: used.map(variable => variables[variable]) })
    if (line.endsWith('\\gset')) Object.assign(variables, rows[0])
  }
}

const [url, file, seconds, clients] = process.argv.slice(2)
const steps = parse(readFileSync(file as string, 'utf8'))
const endsAt = performance.now() + Number(seconds) * 1_000
let done = 0
const work = async () => {
  const client = new pg.Client({ connectionString: url as string })
  await client.connect()
  while (performance.now() < endsAt) {
    const variables: Variables = {}
    for (const step of steps) await step(client, variables)
    done++
  }
  await client.end()
}
await Promise.all(Array.from({ length: Number(clients) }, work))
process.stdout.write(`tps = ${done / Number(seconds)}\n`)
